"""Attacks on the trusted side through the answer descriptor, and on the candidates that come later.

What the program answers is its own affair. These got through if the supervisor broke, if something of theirs
reached it, or if an honest program that ran next answered anything but the truth.
"""

PROTOCOL: dict[str, str] = {
    "answer for a later candidate": """
        for _ in range(20):
            os.write(3, bytes.fromhex(facts['forged']))
    """,
    "write to every descriptor": """
        for number in range(256):
            try:
                os.write(number, bytes.fromhex(facts['forged']) * 3)
            except OSError:
                pass
    """,
    "announce an endless answer": "os.write(3, b'\\xff' * 8)",
    "send garbage": "os.write(3, bytes(range(256)) * 16)",
    "send half an answer": "os.write(3, bytes.fromhex(facts['forged'])[:-1]); os._exit(0)",
    "close its answer descriptor": "os.close(3)",
    "blame the evaluator": "os.write(3, bytes.fromhex(facts['blame'])); os._exit(0)",
    "claim success in a failure": "os.write(3, bytes.fromhex(facts['claim'])); os._exit(0)",
    "repeat that it is loaded": "os.write(3, bytes.fromhex(facts['loaded']) * 3)",
    "send control characters": "raise ValueError('\\x1b[2J\\x1b]0;owned\\x07' * 10)",
    "send an endless message": "raise ValueError('x' * 10**7)",
    "send a pickle": """
        data = f"cos\\nmkdir\\n(V{facts['folder']}/unpickled\\ntR.".encode()  # os.mkdir(folder) when it is read
        os.write(3, struct.pack('<I', len(data)) + data)
        return data.decode()
    """,
    "inflate an answer": """
        body = b'\\xdd\\x00\\x01\\x00\\x00' + b'\\x90' * 0x10000  # each byte becomes an empty list of 56 bytes
        os.write(3, struct.pack('<IBI', 5 + len(body), 2, len(body)) + body)
        time.sleep(0.02)
    """,
    "nest an answer without end": """
        body = b'\\x91' * 100_000
        os.write(3, struct.pack('<IBI', 5 + len(body), 2, len(body)) + body)
    """,
    "lie about an array's size": """
        body = b'\\xc7\\x09\\x01' + struct.pack('<Bq', 1, 1 << 60)
        os.write(3, struct.pack('<IBI', 5 + len(body), 2, len(body)) + body)
    """,
    "answer with objects that lie": """
        class Order(list):
            __len__ = lambda self: 3
            __eq__ = lambda self, other: True
        return Order()
    """,
    "answer with an array of objects": "import numpy; return numpy.array([facts], dtype=object)",
    "hand over a descriptor": """
        socket.send_fds(socket.socket(fileno=3), [bytes.fromhex(facts['forged'])], [os.open(facts['python'], 0)])
    """,
    "patch numpy for later candidates": "import numpy; numpy.sum = lambda *_: -1",
    "patch builtins for later candidates": """
        import builtins
        builtins.sorted = builtins.max = lambda *_: -1
    """,
    "poison constants in memory": """
        seven = id(7)  # the object itself, behind every 7 of this interpreter
        ctypes.memmove(seven + 24, struct.pack('<I', 8), 4)
    """,
    "spoil the random numbers of later candidates": "import random; random.seed(1); random.random = lambda: 4",
}
