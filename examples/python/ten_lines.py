# SPDX-License-Identifier: MIT
from libguest import Guest

with Guest() as guest:
    program = "print(sum(map(int, input().split())))"
    done = guest.run(["python3", "-c", program], input="1 2 3 4", text=True, timeout=5)
    print("exit code", done.returncode, "output", done.stdout.strip())
    guest.run(["rm", "-rf", "/usr", "/etc"])  # this guest's own copies

with Guest() as guest:  # a fresh one
    print(guest.run("ls /usr | wc -l", shell=True, text=True).stdout, end="")
