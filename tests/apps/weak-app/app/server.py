"""The shop's server. Weak on purpose: see README.md."""

import pickle
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse
from urllib.request import urlopen

import requests

from store import find_orders, session_id

ADMIN_PASSWORD = "correct-horse-battery-staple"


class Shop(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        assert "customer" in query
        match url.path:
            case "/orders":
                self.answer(str(find_orders(query["customer"])))
            case "/ping":
                # Whatever stands in `host` is run.
                self.answer(subprocess.check_output("ping -c 1 " + query["host"], shell=True).decode())
            case "/price":
                self.answer(str(eval(query["formula"])))
            case "/stock":
                self.answer(requests.get(query["warehouse"], verify=False).text)
            case "/logo":
                self.answer(urlopen(query["logo"]).read().decode())
            case _:
                self.answer(session_id())

    def do_POST(self):
        # A pickle from a stranger is a program from a stranger.
        cart = pickle.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.answer(str(sum(item["price"] for item in cart)))
        except Exception:
            pass

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    HTTPServer(("0.0.0.0", 8080), Shop).serve_forever()
