"""Attacks over sockets: the scene's servers notice who reaches them."""

NETWORK: dict[str, str] = {
    "connect to a local server": "socket.socket().connect(('127.0.0.1', facts['port'])); return 'connected'",
    "connect over IPv6": """
        socket.socket(socket.AF_INET6).connect(('::ffff:127.0.0.1', facts['port']))
        return 'connected'
    """,
    "connect to an abstract Unix socket": """
        socket.socket(socket.AF_UNIX).connect(bytes.fromhex(facts['abstract']))
        return 'connected'
    """,
    "send a datagram": """
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', facts['port']))
        return 'sent'
    """,
    "listen on a port": "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); return 'listening'",
    "listen on an abstract Unix socket": "socket.socket(socket.AF_UNIX).bind(b'\\0evolve-attack'); return 'bound'",
    "open a Unix socket": "socket.socketpair(); return 'opened'",
    "open a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); return 'opened'",
    "open a packet socket": "socket.socket(17, socket.SOCK_RAW, 3); return 'opened'",
    "open a netlink socket": "socket.socket(16, socket.SOCK_RAW, 0); return 'opened'",
    "open a socket to the hypervisor": "socket.socket(40, socket.SOCK_STREAM); return 'opened'",
    "open a socket to the kernel's ciphers": "socket.socket(38, socket.SOCK_SEQPACKET); return 'opened'",
    "resolve a name": "return socket.getaddrinfo('localhost', facts['port']) and 'resolved'",
    "learn the host's name": "return socket.gethostname() == facts['hostname'] and facts['hostname']",
    "change the host's name": "return permitted(170, 161, socket.gethostname().encode(), len(socket.gethostname()))",
}
