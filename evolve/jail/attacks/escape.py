"""Attacks on the kernel's walls: namespaces, privileges, keys, and ways around the system call filter.

Calls that only a privileged process may make are tried with arguments that change nothing.
"""

ESCAPE: dict[str, str] = {
    "open namespaces of its own": "check(libc.unshare(0x10000000)); return 'opened'",
    "join its parent's namespaces": """
        check(libc.setns(os.open(f'/proc/{os.getppid()}/ns/net', os.O_RDONLY), 0))
        return 'joined'
    """,
    "join its parent's namespaces by a descriptor": """
        return permitted(308, 268, os.pidfd_open(os.getppid()), 0x40000000)
    """,
    "mount": "check(libc.mount(b'none', facts['folder'].encode(), b'tmpfs', 0, 0)); return 'mounted'",
    "mount by the newer calls": "raw(430, 430, b'tmpfs', 0); return 'opened'",
    "unmount": "check(libc.umount2(b'/proc', 2)); return 'unmounted'",
    "change its root": "os.chroot('/'); return 'changed'",
    "exchange the root": "return permitted(155, 41, b'/', b'/')",
    "become another user": "check(libc.setuid(1)); return 'became'",
    "become another group": "check(libc.setgid(1)); return 'became'",
    "join the groups of root": "os.setgroups([0]); return 'joined'",
    "take capabilities": """
        header, rights = struct.pack('<Ii', 0x20080522, 0), b'\\xff\\xff\\xff\\xff' * 3 + bytes(12)
        raw(126, 91, header, rights)
        return 'taken'
    """,
    "keep capabilities over a change of user": "check(libc.prctl(47, 2, 0, 0, 0)); return 'kept'",
    "make its memory readable": "check(libc.prctl(4, 1, 0, 0, 0)); return 'readable'",
    "install a filter of its own": """
        code = struct.pack('<HBBI', 6, 0, 0, 0x7fff0000)
        buffer = ctypes.create_string_buffer(code, 8)
        check(libc.prctl(22, 2, struct.pack('@HP', 1, ctypes.addressof(buffer)), 0, 0))
        return 'installed'
    """,
    "make rules of its own": "raw(444, 444, struct.pack('<Q', 4), 8, 0); return 'made'",
    "change its personality": "check(libc.personality(0x0040000)); return 'changed'",
    "use the x32 system calls": """
        if MACHINE == 'x86_64':
            return f'pid {check(libc.syscall(0x40000000 | 39))}'
    """,
    "open a file by an x32 system call": """
        if MACHINE == 'x86_64':
            opened = check(libc.syscall(0x40000000 | 257, -100, facts['secret'].encode(), 0))
            return os.read(opened, 100)
    """,
    "use the 32-bit system calls": """
        if MACHINE == 'x86_64':
            code = mmap.mmap(-1, 4096, prot=7)
            code.write(bytes.fromhex('b814000000' 'cd80' 'c3'))  # mov eax, 20 (getpid); int 0x80; ret
            call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
            pid = call()
            return pid > 0 and f'pid {pid}'
    """,
    "use a foreign descriptor": """
        found = []
        for number in range(4, 256):
            try:
                os.fstat(number)
                found.append(number)
            except OSError:
                pass
        return found and f'descriptors {found}'
    """,
    "order the zygote about": """
        for number in range(4, 64):
            try:
                if socket.socket(fileno=number).send(b'R'):
                    return f'descriptor {number}'
            except OSError:
                pass
    """,
    "reopen its answer descriptor": "return os.open('/proc/self/fd/3', os.O_RDWR) and 'reopened'",
    "write to the terminal": """
        null = os.stat('/dev/null').st_rdev
        return [number for number in (0, 1, 2) if os.fstat(number).st_rdev != null]
    """,
    "open the terminal": "os.open('/dev/tty', os.O_RDONLY); return 'opened'",
    "type into the terminal": """
        import fcntl
        fcntl.ioctl(0, 0x5412, b'x')  # TIOCSTI
        return 'typed'
    """,
    "hang up the terminal": "return permitted(153, 58)",
    "load a BPF program": "raw(321, 280, 0, bytes(72), 72); return 'loaded'",
    "reach for keys": "raw(250, 219, 0, -3, 1); return 'got'",
    "add a key": "raw(248, 217, b'user', b'evolve', b'x', 1, -1); return 'added'",
    "request a key": "return permitted(249, 218, b'user', b'evolve-none', 0, -1)",
    "read the kernel's messages": "return check(libc.klogctl(10, None, 0)) and 'read'",
    "read the kernel's messages from the device": "os.open('/dev/kmsg', os.O_RDONLY); return 'opened'",
    "read the kernel's memory": "os.open('/proc/kcore', os.O_RDONLY); return 'opened'",
    "read the kernel's symbols": "return open('/proc/kallsyms').read(80)",
    "set the clock": "return permitted(164, 170, 0, 0)",
    "load a kernel": "return permitted(246, 104, 0, 0, 0, 0)",
    "load a kernel module": "return permitted(175, 105, 0, 0, b'')",
    "restart the machine": "return permitted(169, 142, 0, 0, 0, 0)",  # without the magic numbers
    "add swap space": "return permitted(167, 224, 0, 0)",
    "keep accounts of processes": "return permitted(163, 89, 0)",
    "reach for input and output ports": "return MACHINE == 'x86_64' and permitted(173, 0, 0, 1, 1)",
}
