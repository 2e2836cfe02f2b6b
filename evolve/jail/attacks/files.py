"""Attacks on files: reading what is secret, changing what is not theirs, leaving something behind.

The scene plants `facts['secret']`, a file in `facts['folder']`, and looks at both afterwards.
"""

FILES: dict[str, str] = {
    "read a file": "return open(facts['secret']).read()",
    "read a file from its own folder": "os.chdir(facts['folder']); return open('secret').read()",
    "read a file through /proc/self/root": "return open('/proc/self/root' + facts['secret']).read()",
    "read a file through its parent's root": "return open(f\"/proc/{os.getppid()}/root{facts['secret']}\").read()",
    "read a file through the first process's root": "return open('/proc/1/root' + facts['secret']).read()",
    "climb out of an open folder": """
        for number in range(256):
            try:
                return open(f"/proc/self/fd/{number}/../{facts['secret']}").read()
            except OSError:
                pass
        for number in range(256):
            try:
                os.fchdir(number)
                return open('../' * 20 + facts['secret']).read()
            except OSError:
                pass
    """,
    "read a file by its handle": """
        handle, mount = struct.pack('<Ii', 128, 0) + bytes(128), ctypes.c_int()
        handle = ctypes.create_string_buffer(handle)
        raw(303, 264, -100, facts['secret'].encode(), handle, ctypes.byref(mount), 0)
        opened = raw(304, 265, -100, handle, 0)
        return os.read(opened, 100)
    """,
    "map a file": "return mmap.mmap(os.open(facts['secret'], os.O_RDONLY), 0, prot=mmap.PROT_READ)[:]",
    "see a file's size": "return f\"{os.stat(facts['secret']).st_size} bytes\"",
    "list a folder": "return ', '.join(os.listdir(facts['folder']))",
    "list the home folder": "return len(os.listdir(facts['home'])) and 'listed'",
    "list the working folder": "return len(os.listdir(facts['cwd'])) and 'listed'",
    "list the installed packages": "return len(os.listdir(facts['site'])) and 'listed'",
    "learn the working folder": "return os.getcwd() == facts['cwd'] and facts['cwd'] != '/' and os.getcwd()",
    "read the project's source": "return open(facts['project'] + '/evaluate.py').read(80)",
    "read the jail's source": "return open(facts['jail'] + '/kernel.py').read(80)",
    "read the list of users": "return open('/etc/passwd').read(80)",
    "read the passwords": "return open('/etc/shadow').read(1) and 'read'",
    "read the boot's identity": "return open('/proc/sys/kernel/random/boot_id').read()",
    "watch a folder": """
        check(libc.inotify_add_watch(check(libc.inotify_init()), facts['folder'].encode(), 0xfff))
        return 'watched'
    """,
    "watch a whole file system": "raw(300, 262, 0, 0); return 'watched'",
    "write a file": "open(facts['folder'] + '/written', 'w').write('x')",
    "overwrite a file": "open(facts['secret'], 'r+').write('x')",
    "overwrite a file through a map": """
        mmap.mmap(os.open(facts['secret'], os.O_RDWR), 0)[:1] = b'?'
    """,
    "truncate a file": "os.truncate(facts['secret'], 0)",
    "append to a file": "open(facts['secret'], 'a').write('x')",
    "create a folder": "os.mkdir(facts['folder'] + '/made')",
    "create a pipe with a name": "os.mkfifo(facts['folder'] + '/pipe')",
    "create a device": "os.mknod(facts['folder'] + '/device', 0o20600, os.makedev(1, 3))",
    "create a Unix socket with a name": "socket.socket(socket.AF_UNIX).bind(facts['folder'] + '/socket')",
    "change a file's mode": "os.chmod(facts['secret'], 0o777)",
    "change a file's times": "os.utime(facts['secret'], (1, 1))",
    "change a file's owner": "os.chown(facts['secret'], 65533, 65533)",
    "change a file's attributes": "os.setxattr(facts['secret'], 'user.evolve', b'x')",
    "delete a file": "os.remove(facts['secret'])",
    "rename a file": "os.rename(facts['secret'], facts['secret'] + '.moved')",
    "link to a file": "os.symlink(facts['secret'], facts['folder'] + '/link')",
    "link hard to a file": "os.link(facts['secret'], facts['folder'] + '/hard')",
    "change the jail's own code": "open(facts['jail'] + '/' + facts['planted'], 'w').write('x')",
    "find a place to write": """
        found = []
        for place in (*"/ /dev /dev/shm /home /proc /run /tmp /usr /var/tmp".split(), facts["site"]):
            try:
                os.mkdir(f"{place}/{facts['planted']}")
                os.rmdir(f"{place}/{facts['planted']}")
                found.append(place)
            except OSError:
                pass
        return ', '.join(found)
    """,
    "fill a disk": """
        for place in ('/dev/shm', '/tmp', '/var/tmp', '/run'):
            try:
                file = os.open(place, 0o20200000 | os.O_RDWR, 0o600)  # O_TMPFILE: no name, so nothing is left
                return f'{os.write(file, bytes(1 << 20))} bytes in {place}'
            except OSError:
                pass
    """,
    "make a huge sparse file": """
        for place in ('/dev/shm', '/tmp', '/var/tmp', '/run'):
            try:
                os.ftruncate(os.open(place, 0o20200000 | os.O_RDWR, 0o600), 1 << 30)
                return place
            except OSError:
                pass
    """,
    "write to shared memory": """
        check(libc.shm_open(b'/evolve-attack', os.O_CREAT | os.O_RDWR, 0o600))
        libc.shm_unlink(b'/evolve-attack')
        return 'opened'
    """,
    "make an in-memory file": "os.memfd_create('x'); return 'made'",
}
