#!/bin/bash
name=$1
rm -rf $TARGET/$name
eval "$name"
cd $HOME
