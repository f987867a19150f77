import hashlib
import subprocess

PASSWORD = "correct horse battery"


def find(cursor, name):
    cursor.execute("SELECT * FROM users WHERE name = '%s'" % name)
    return hashlib.md5(name.encode()).hexdigest()


def ping(host):
    subprocess.run("ping " + host, shell=True)
    try:
        return eval(host)
    except Exception:
        pass
