"""Attacks on the machine's resources: memory, cores, priorities, and objects that outlive a process."""

RESOURCES: dict[str, str] = {
    "allocate beyond its limit": "return f'{len(bytes(facts[\"bytes\"]))} bytes'",
    "hoard small objects": """
        hoard = []
        for number in range(facts['bytes'] >> 20):
            hoard.append([bytes(1000) for _ in range(1000)])
        return f'{len(hoard)} MB'
    """,
    "map shared memory beyond its limit": "return f'{len(mmap.mmap(-1, facts[\"bytes\"]))} bytes'",
    "map a terabyte": """
        libc.mmap.restype = ctypes.c_size_t
        where = libc.mmap(None, ctypes.c_size_t(1 << 40), 3, 0x4022, -1, 0)  # private, anonymous, no reserve
        return where < (1 << 64) - 4096 and 'mapped'
    """,
    "lock memory": "check(libc.mlockall(3)); return 'locked'",
    "raise its limits": """
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return 'raised'
    """,
    "raise its limits by the newer call": """
        raw(302, 261, 0, 9, struct.pack('<2Q', 1 << 63, 1 << 63), 0)
        return 'raised'
    """,
    "open descriptors without end": """
        for count in range(1000):
            try:
                os.open(facts['python'], os.O_RDONLY)
            except OSError as error:
                if error.errno == 24:
                    return
                raise
        return '1000 descriptors'
    """,
    "leave System V memory behind": "return f\"id {check(libc.shmget(facts['key'], 4096, 0o1600))}\"",
    "leave a System V semaphore behind": "return f\"id {check(libc.semget(facts['key'], 1, 0o1600))}\"",
    "leave a System V queue behind": "return f\"id {check(libc.msgget(facts['key'], 0o1600))}\"",
    "open a message queue": """
        name = b'evolve-attack'
        raw(240, 180, name, 0o100 | 2, 0o600, 0)
        raw(241, 181, name)
        return 'opened'
    """,
    "take over a core": "os.sched_setaffinity(0, {0}); return 'bound'",
    "raise its priority": "os.nice(-5); return 'raised'",
    "lower its priority": "os.nice(5); return 'lowered'",
    "run in real time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); return 'scheduled'",
    "raise its priority on the disk": "raw(251, 30, 1, 0, (1 << 13) | 4); return 'raised'",
    "be spared when memory runs out": "open('/proc/self/oom_score_adj', 'w').write('0'); return 'spared'",
    "set a timer": "signal.setitimer(signal.ITIMER_REAL, 1000); return 'set'",
    "make a POSIX timer": """
        timer = ctypes.c_int()
        raw(222, 107, 1, 0, ctypes.byref(timer))
        return 'made'
    """,
    "watch faults": "raw(323, 282, 1); return 'watched'",
    "use io_uring": "raw(425, 425, 8, bytes(120)); return 'set up'",
    "use the older asynchronous calls": "raw(206, 0, 1, ctypes.byref(ctypes.c_ulong())); return 'set up'",
    "count the processor's events": """
        raw(298, 241, struct.pack('<II', 1, 112) + bytes(104), 0, -1, -1, 0)
        return 'counted'
    """,
}

ENDLESS: dict[str, str] = {
    "compute without end": "while True: pass",
    "compute without end in C": "return sum(range(10**15))",
}
