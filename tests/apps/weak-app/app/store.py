"""The shop's orders. Weak on purpose: see README.md."""

import hashlib
import random
import sqlite3

DATABASE = "/tmp/shop.db"


def find_orders(customer):
    connection = sqlite3.connect(DATABASE)
    return connection.execute("SELECT id, total FROM orders WHERE customer = '%s'" % customer).fetchall()


def find_products(name, order):
    connection = sqlite3.connect(DATABASE)
    return connection.execute(f"SELECT * FROM products WHERE name LIKE '%{name}%' ORDER BY {order}").fetchall()


def store_password(customer, password):
    digest = hashlib.md5(password.encode()).hexdigest()
    connection = sqlite3.connect(DATABASE)
    connection.execute("UPDATE customers SET password = ? WHERE id = ?", (digest, customer))


def session_id():
    return str(random.randint(0, 2**31))
