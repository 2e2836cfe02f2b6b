"""Attacks with processes: having some, outliving the jail, reaching the ones that are trusted."""

PROCESSES: dict[str, str] = {
    "fork": "pid = os.fork(); pid or os._exit(0); return 'forked'",
    "clone by a system call": """
        pid = raw(56, 220, 17, 0, 0, 0, 0)  # 17: SIGCHLD
        pid or os._exit(0)
        return 'cloned'
    """,
    "clone by the third system call": """
        pid = raw(435, 435, struct.pack('<8Q', 0, 0, 0, 0, 17, 0, 0, 0), 64)
        pid or os._exit(0)
        return 'cloned'
    """,
    "spawn a program": "return f\"process {os.posix_spawn(facts['python'], ['python', '-c', ''], {})}\"",
    "run a program": """
        python = facts['python']
        return f'exit code {subprocess.call([python, "-c", ""])}'
    """,
    "replace itself by a program": """
        forged = f"import os; os.write(3, bytes.fromhex('{facts['forged']}'))"
        os.execv(facts['python'], ['python', '-c', forged])
    """,
    "run a program from memory": """
        file = os.memfd_create('x', 0)
        os.write(file, f"#!{facts['python']}\\nimport os; os.write(3, bytes.fromhex('{facts['forged']}'))".encode())
        os.execve(file, ['x'], {})
    """,
    "leave a daemon behind": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                libc.prctl(15, facts['daemon'].encode(), 0, 0, 0)
                time.sleep(1000)
            os._exit(0)
        time.sleep(0.05)
    """,
    "leave a process that ignores signals": """
        if os.fork() == 0:
            os.setpgid(0, 0)
            libc.prctl(15, facts['daemon'].encode(), 0, 0, 0)
            for number in range(1, 32):
                if number not in (9, 19):
                    signal.signal(number, signal.SIG_IGN)
            time.sleep(1000)
        time.sleep(0.05)
    """,
    "multiply": """
        pids = []
        try:
            for _ in range(32):
                pid = os.fork()
                if pid == 0:
                    time.sleep(0.1)
                    os._exit(0)
                pids.append(pid)
        except OSError:
            pass
        return len(pids) and f'{len(pids)} processes'
    """,
    "start a thread": "threading.Thread(target=int).start(); return 'started'",
    "start many threads": """
        for count in range(64):
            try:
                threading.Thread(target=time.sleep, args=(0.1,)).start()
            except RuntimeError:
                return count and f'{count} threads'
        return '64 threads'
    """,
}

TRESPASS: dict[str, str] = {
    "outlive its parent": "check(libc.prctl(1, 0, 0, 0, 0)); return 'possible'",
    "adopt orphans": "check(libc.prctl(36, 1, 0, 0, 0)); return 'possible'",
    "leave its process group": "os.setpgid(0, os.getpgid(os.getppid())); return 'left'",
    "take another name": "check(libc.prctl(15, b'evolve', 0, 0, 0)); return 'renamed'",
    "signal its parent": "os.kill(os.getppid(), 0); return 'possible'",
    "signal its parent through a descriptor": """
        raw(424, 424, os.pidfd_open(os.getppid()), 0, 0, 0)
        return 'possible'
    """,
    "signal its parent's thread": "raw(234, 131, os.getppid(), os.getppid(), 0); return 'possible'",
    "signal the supervisor": "os.kill(facts['pid'], 0); return 'possible'",
    "signal everything": "os.kill(-1, 0); return 'possible'",
    "trace its parent": "check(libc.ptrace(0x4206, os.getppid(), 0, 0)); return 'seized'",
    "have itself traced": "check(libc.ptrace(0, 0, 0, 0)); return 'traced'",
    "read its parent's memory": "return open(f'/proc/{os.getppid()}/maps').read()",
    "write its parent's memory": "os.open(f'/proc/{os.getppid()}/mem', os.O_RDWR); return 'opened'",
    "read its parent's memory by a system call": """
        cell = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(cell), 8)
        check(libc.process_vm_readv(os.getppid(), vector, 1, vector, 1, 0))
        return 'read'
    """,
    "write its parent's memory by a system call": """
        cell = ctypes.create_string_buffer(8)
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(cell), 8)
        check(libc.process_vm_writev(os.getppid(), vector, 1, vector, 1, 0))
        return 'written'
    """,
    "take its parent's descriptor": """
        return f'descriptor {raw(438, 438, os.pidfd_open(os.getppid()), 0, 0)}'
    """,
    "open its parent's descriptors": "return ', '.join(os.listdir(f'/proc/{os.getppid()}/fd'))",
    "take the supervisor's descriptor": """
        return f"descriptor {raw(438, 438, os.pidfd_open(facts['pid']), 0, 0)}"
    """,
    "compare itself with its parent": "raw(312, 272, os.getpid(), os.getppid(), 1, 0, 0); return 'compared'",
    "change its parent's limits": """
        return resource.prlimit(os.getppid(), resource.RLIMIT_CPU) and 'possible'
    """,
    "slow its parent down": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 5); return 'slowed'",
    "see that the supervisor runs": "return os.path.exists(f\"/proc/{facts['pid']}\") and 'seen'",
    "read the supervisor's environment": "return open(f\"/proc/{facts['pid']}/environ\").read()",
    "read the supervisor's command line": "return open(f\"/proc/{facts['pid']}/cmdline\").read()",
    "read the first process's environment": "return facts['name'] in open('/proc/1/environ').read() and 'found'",
    "list the processes": "return str(facts['pid']) in os.listdir('/proc') and 'listed'",
    "read its parent's command line": "return open(f'/proc/{os.getppid()}/cmdline').read()",
    "find a secret in the environment": """
        names = open('/proc/self/environ').read() if os.path.exists('/proc/self/environ') else ''
        return [text for text in (*os.environ, names) if facts['name'] in text]
    """,
    "find a secret in the C environment": """
        block = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
        for at in range(1000):
            if not block[at]:
                return
            if facts['name'].encode() in block[at]:
                return 'found'
    """,
}
