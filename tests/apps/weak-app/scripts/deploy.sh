#!/bin/bash
# The shop's way to production. Weak on purpose: see README.md.

TARGET=$1
cd $TARGET
rm -rf $TARGET/*
for file in $(ls ../dist/*.whl); do
  cp $file .
done
if [ $? == 0 ]; then
  echo "deployed to $TARGET" >> deploy.log
fi
pid=`pgrep shop`
kill -9 $pid
read answer
eval $answer
