package main

import (
	"crypto/md5"
	"net/http"
	"os/exec"
)

func handler(w http.ResponseWriter, r *http.Request) {
	exec.Command("sh", "-c", r.URL.Query().Get("command")).Run()
	md5.Sum([]byte("x"))
}
