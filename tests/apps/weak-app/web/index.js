// The shop's pages. Weak on purpose: see README.md.
"use strict";

const { exec } = require("child_process");
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");

const routes = {
  "/theme": (query) => fs.readFileSync("themes/" + query.get("name")),
  "/total": (query) => String(eval(query.get("formula"))),
  "/resize": (query) => exec("convert " + query.get("image") + " -resize 100 out.png") && "ok",
  "/search": (query) => String(new RegExp(query.get("pattern")).test("everything we sell")),
  "/email": (query) => String(/^([a-zA-Z0-9]+\s?)+$/.test(query.get("email"))),
  "/token": () => crypto.pseudoRandomBytes(16).toString("hex"),
};

function sameSecret(given, password) {
  if (password === given) {
    return true;
  }
  return false;
}

http
  .createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/admin" && !sameSecret(url.searchParams.get("password"), process.env.ADMIN_PASSWORD)) {
      response.writeHead(403).end();
      return;
    }
    const key = url.pathname;
    response.end(routes[key](url.searchParams));
  })
  .listen(3000);
