# SPDX-License-Identifier: Apache-2.0
"""Inside a container: changes files in every way, then answers each SIGUSR1 with "ok N" and writes
nothing any more."""
import os
import shutil
import signal
import socket


def write(path, text="text\n", mode=None):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    if mode is not None:
        os.chmod(path, mode)


def change_image():
    write("/etc/motd", "changed\n")
    os.unlink("/etc/issue")
    shutil.rmtree("/etc/skel")
    os.mkdir("/etc/skel", 0o700)  # hides what the image has there
    write("/etc/skel/only", "only\n")
    os.rename("/etc/debian_version", "/etc/version of debian")
    os.chmod("/etc/passwd", 0o600)
    os.chown("/etc/group", 1000, 1000)
    os.symlink("/nowhere", "/etc/dangling")
    os.unlink("/etc/os-release")
    os.mkdir("/etc/os-release")  # a folder where a link was
    shutil.rmtree("/var/spool")
    write("/var/spool", "a file where a folder was\n")


def create():
    os.makedirs("/data/deep/er")
    write("/data/plain")
    write("/data/\u00e9\n odd'name")
    write("/data/setuid", mode=0o4755)
    os.link("/data/plain", "/data/deep/twin")
    os.mkfifo("/data/pipe", 0o622)
    os.setxattr("/data/plain", "user.word", b"\0binary\xff")
    write("/data/able", mode=0o755)  # with a capability: cap_net_raw+ep
    os.setxattr("/data/able", "security.capability",
                bytes.fromhex("0100000200200000000000000000000000000000"))
    with open("/data/holes", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("/data/socket")
    os.utime("/data/deep", ns=(1, 1234567890123456789))
    os.chown("/data/deep/er", 5, 6)


change_image()
create()
count = 0
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("ready", flush=True)
while True:
    signal.sigwait([signal.SIGUSR1])
    count += 1
    print(f"ok {count}", flush=True)
