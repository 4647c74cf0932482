# needs: python3 root
# Every call about files, with each of its arguments in turn wrong in each way: paths, flags, sizes, structures. Which error
# comes out is compared. As a user without privileges, on the volume, in memory and on the root.
cat > walk.py <<'PY'
import ctypes, errno, itertools, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
HERE, BAD = -100, 1 << 63  # AT_FDCWD; the kernel's half
N = dict(read=0, write=1, open=2, stat=4, lstat=6, lseek=8, pread64=17, pwrite64=18, readv=19, writev=20, access=21, dup2=33,
    sendfile=40, fcntl=72, flock=73, fsync=74, fdatasync=75, truncate=76, ftruncate=77, getdents=78, getcwd=79, chdir=80, fchdir=81,
    rename=82, mkdir=83, rmdir=84, creat=85, link=86, unlink=87, symlink=88, readlink=89, chmod=90, fchmod=91, chown=92, fchown=93,
    lchown=94, mknod=133, utime=132, statfs=137, fstatfs=138, chroot=161, readahead=187, setxattr=188, lsetxattr=189, fsetxattr=190,
    getxattr=191, lgetxattr=192, fgetxattr=193, listxattr=194, llistxattr=195, flistxattr=196, removexattr=197, lremovexattr=198,
    fremovexattr=199, getdents64=217, fadvise64=221, utimes=235, inotify_init1=294, inotify_add_watch=254, inotify_rm_watch=255,
    openat=257, mkdirat=258, mknodat=259, fchownat=260, futimesat=261, newfstatat=262, unlinkat=263, renameat=264, linkat=265,
    symlinkat=266, readlinkat=267, fchmodat=268, faccessat=269, splice=275, tee=276, sync_file_range=277, vmsplice=278, utimensat=280,
    fallocate=285, eventfd2=290, dup3=292, pipe2=293, preadv=295, pwritev=296, name_to_handle_at=303, open_by_handle_at=304,
    renameat2=316, memfd_create=319, copy_file_range=326, preadv2=327, pwritev2=328, statx=332, close_range=436, openat2=437,
    faccessat2=439, epoll_create1=291, timerfd_create=283, signalfd4=289, fchmodat2=452, msync=26)
pages = mmap.mmap(-1, 4 * 4096)
base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
libc.mprotect(ctypes.c_void_p(base + 3 * 4096), 4096, 0)
edge = base + 3 * 4096  # what comes behind can't be read
def put(data):  # so that it ends where the hole begins
    ctypes.memmove(edge - len(data), data, len(data)); return edge - len(data)
room = base
keep = []
def text(bytes_):
    keep.append(ctypes.create_string_buffer(bytes_)); return ctypes.addressof(keep[-1])
PATHS = {name: text(name.encode()) for name in ['file', 'dir', 'link', 'dangling', 'loop', 'fifo', 'none', 'file/', 'dir/', 'link/', 'dir/.',
    'dir/..', 'file/x', 'none/x', '', '.', '..', '/', 'loop/x', 'dirlink', 'dirlink/', 'n' * 255, 'n' * 256, 'dir/../' * 585 + 'file', 'dir/../' * 586, 'shut/x', 'shut']}
PATHS.update(null=0, kernel=BAD, low=1, cut=edge - 3)
short = {('long%d' % len(name) if len(name) > 40 else name or 'empty'): at for name, at in PATHS.items()}
bits = [0] + [1 << bit for bit in range(32)] + [0xffffffff]
def iov(*parts): return b''.join(struct.pack('QQ', *part) for part in parts)
counts = {}
def clean(where):
    for entry in list(os.scandir(where)):
        if entry.is_dir(follow_symlinks=False): os.chmod(entry.path, 0o700); clean(entry.path); os.rmdir(entry.path)
        else: os.unlink(entry.path)
def reset():
    clean('.'); fresh()
def fresh():
    with open('file', 'w') as f: f.write('content')
    os.chmod('file', 0o644); os.mkdir('dir', 0o755); open('dir/in', 'w').close(); os.mkdir('empty-dir')
    os.symlink('file', 'link'); os.symlink('none', 'dangling'); os.symlink('loop', 'loop'); os.symlink('dir', 'dirlink'); os.mkfifo('fifo')
    os.mkdir('shut'); open('shut/x', 'w').close(); os.chmod('shut', 0)
    for fd, (path, how) in FDS.items():
        new = os.open(path, how); os.dup2(new, fd); os.close(new)
    r, w = os.pipe(); os.dup2(r, 206); os.dup2(w, 207); os.close(r); os.close(w); os.set_blocking(206, False); os.set_blocking(207, False)
FDS = {200: ('file', os.O_RDONLY), 201: ('file', os.O_WRONLY), 202: ('file', os.O_RDWR), 203: ('dir', os.O_RDONLY), 204: ('file', os.O_PATH), 205: ('file', os.O_RDWR | os.O_APPEND)}
fds = [-1, 199, 200, 201, 202, 203, 204, 205, 206, 207, 1 << 30]
dirs = [HERE, -1, 199, 203, 200, 204]
def call(name, *args):
    padded = [ctypes.c_long(arg if arg < 1 << 63 else arg - (1 << 64)) for arg in args] + [ctypes.c_long(0)] * (6 - len(args))
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(N[name]), *padded)
    return result, ctypes.get_errno()
OPENS = {'open', 'openat', 'openat2', 'creat', 'dup2', 'dup3', 'memfd_create', 'inotify_init1', 'eventfd2', 'epoll_create1', 'timerfd_create', 'signalfd4'}
READS = {'stat', 'lstat', 'newfstatat', 'statx', 'access', 'faccessat', 'faccessat2', 'readlink', 'readlinkat', 'statfs', 'fstatfs', 'getcwd', 'fsync', 'fdatasync'}
def attempt(name, what, *args):
    ctypes.memset(room, 0, 4096)
    result, error = call(name, *args)
    outcome = errno.errorcode.get(error, str(error)) if result < 0 else 'ok'
    print(name, what, outcome)
    if result >= 0 and name in OPENS:
        if result > 2 and result < 199: os.close(result)
    if result >= 0 and name not in READS: os.chdir(top); reset()
def each(name, *axes, what=None):
    # One axis at a time away from the first value of the others, and all pairs of the first two.
    usual = [list(axis.items())[0] if isinstance(axis, dict) else (axis[0], axis[0]) for axis in axes]
    tried = set()
    values = [list(axis.items()) if isinstance(axis, dict) else [(value, value) for value in axis] for axis in axes]
    rows = [usual[:at] + [value] + usual[at + 1:] for at in range(len(axes)) for value in values[at]]
    if len(axes) > 1: rows += [[a, b] + usual[2:] for a in values[0] for b in values[1]]
    for row in rows:
        key = tuple(label for label, _ in row)
        if key not in tried:
            tried.add(key); attempt(name, ' '.join(str(label) for label in key), *[value for _, value in row])
buffers = dict(room=room, null=0, kernel=BAD, edge=edge - 1, hole=edge)
sizes = [8, 0, 1, 4096, 1 << 31, -1, (1 << 63) - 1]
OFFSETS = [0, 1, 7, 100, -1, (1 << 63) - 1, -(1 << 63), 1 << 62]
def one(place):
    # On the root, an overlay in the sandbox, files reach as far as memory does, and there are no whiteouts to be had; the volume is a mount of its own.
    far = (1 << 63) - 1 if place != 'root' else 1 << 40
    offsets = [at for at in OFFSETS if at <= far or at == (1 << 63) - 1 and place != 'root']
    ends = {name: at for name, at in short.items() if name not in ('/', '..', 'dir/..')}
    flags = bits + [os.O_RDWR, os.O_WRONLY, 3, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_DIRECTORY, os.O_TMPFILE | os.O_RDWR, os.O_TMPFILE, os.O_PATH | os.O_WRONLY,
        os.O_DIRECTORY, os.O_NOFOLLOW, os.O_NOFOLLOW | os.O_PATH, os.O_TRUNC | os.O_NONBLOCK, os.O_NONBLOCK | os.O_WRONLY, os.O_NOATIME]
    flags = [flag for flag in flags if flag not in (0x2000, 0x4000)] # O_ASYNC; O_DIRECT is the file system's to have
    nonblocking = [flag | os.O_NONBLOCK for flag in flags]
    each('open', short, nonblocking, [0o644, 0o7777, 0xffffffff])
    each('openat', dirs, short, nonblocking)
    each('creat', {k: v for k, v in short.items() if k != 'fifo'}, [0o644, 0xffffffff])
    def how(*numbers): return put(struct.pack('Q' * len(numbers), *[n & (1 << 64) - 1 for n in numbers]))
    for flag in nonblocking + [1 << 40]: attempt('openat2', 'flag %#x' % flag, HERE, short['none'], how(flag, 0, 0), 24)
    for flag in nonblocking: attempt('openat2', 'mode, flag %#x' % flag, HERE, short['none'], how(flag, 0o644, 0), 24)
    for mode in [0o7777, 0o10000, 1 << 40]: attempt('openat2', 'mode %o' % mode, HERE, short['none'], how(os.O_CREAT | os.O_RDWR, mode, 0), 24)
    for bit in [bit for bit in range(64) if bit not in (0, 5)]:
        for path in ['file', 'link', 'dir/..', '/', 'loop', '..']: attempt('openat2', 'resolve %d %s' % (bit, path), HERE, short[path], how(os.O_NONBLOCK, 0, 1 << bit), 24)
    for resolve in range(64): attempt('openat2', 'resolve %#x' % resolve, 203, short['..'], how(os.O_NONBLOCK, 0, resolve), 24)
    for size in [0, 1, 8, 16, 23, 24]: attempt('openat2', 'size %d' % size, HERE, short['file'], how(*[0] * 3), size)
    for size in [32, 40, 4096, 4097, -1]: attempt('openat2', 'size %d' % size, HERE, short['file'], how(*[0] * 512), size)
    for extra in [1, 1 << 63]: attempt('openat2', 'tail %d' % extra, HERE, short['file'], how(0, 0, 0, extra), 32)
    for where, at in buffers.items(): attempt('openat2', 'how ' + where, HERE, short['file'], at, 24)
    for name in ['stat', 'lstat', 'statfs']: each(name, short, buffers)
    each('fstatfs', fds, buffers)
    each('newfstatat', dirs, short, buffers, bits)
    each('newfstatat', fds, {'empty': short['empty'], 'null': 0}, buffers, [0x1000, 0, 0x1100, 0x1800])
    each('statx', dirs, short, bits, bits, buffers)
    each('statx', fds, {'empty': short['empty'], 'null': 0}, [0x1000, 0x3000, 0x5000, 0x7000, 0], [0xfff], buffers)
    each('access', short, list(range(9)) + [-1, 1 << 16])
    each('faccessat', dirs, short, list(range(9)))
    each('faccessat2', dirs, short, list(range(9)), bits)
    for name in ['chmod']: each(name, short, [0o755, 0, 0o7777, 0xffffffff])
    each('fchmod', fds, [0o755, 0o7777, 0xffffffff])
    each('fchmodat', dirs, short, [0o755, 0xffffffff])
    each('fchmodat2', dirs, short, [0o755, 0xffffffff], bits)
    for name in ['chown', 'lchown']: each(name, short, [-1, 0, 65534], [-1, 0, 65534])
    each('fchown', fds, [-1, 0, 65534], [-1, 0])
    each('fchownat', dirs, short, [-1, 0, 65534], [-1, 0], bits)
    each('link', ends, ends)
    each('linkat', dirs, ends, dirs, {'new': text(b'new'), **ends}, bits)
    each('symlink', short, {'new': text(b'new'), **short})
    each('symlinkat', short, dirs, {'new': text(b'new'), **short})
    each('unlink', short)
    each('unlinkat', dirs, short, bits)
    each('rmdir', dict(short, **{'empty-dir': text(b'empty-dir')}))
    each('mkdir', {'new': text(b'new'), **short}, [0o755, 0xffffffff])
    each('mkdirat', dirs, {'new': text(b'new'), **short}, [0o755])
    modes = [kind << 12 | 0o644 for kind in range(16) if kind != 2] + [0xffffffff, 0o644]
    each('mknod', {'new': text(b'new'), **short}, modes, [0, 0x103, -1])
    each('mknodat', dirs, {'new': text(b'new'), **short}, modes, [0, 0x103])
    each('rename', ends, {'new': text(b'new'), **ends})
    each('renameat', dirs, ends, dirs, {'new': text(b'new'), **ends})
    for flag in [flag for flag in bits + [3, 5, 6, 7] if place != 'root' or not flag & 4]:
        for old in ['file', 'dir', 'none', 'link', 'loop', '.', 'empty', 'kernel']:
            for new in ['file', 'dir', 'none', 'link', 'dir/.', 'file/x', 'null']:
                attempt('renameat2', '%s %s %#x' % (old, new, flag), HERE, short[old], HERE, short[new], flag)
    each('renameat2', dirs, ends, dirs, {'new': text(b'new'), **ends}, [0, 1, 2])
    each('readlink', {'link': short['link'], **short}, buffers, sizes)
    each('readlinkat', dirs, {'link': short['link'], **short}, buffers, sizes)
    each('readlinkat', fds, {'empty': short['empty']}, buffers, sizes)
    lengths = [0, 5, -1, -(1 << 63)] + ([(1 << 63) - 1] if place != 'root' else [])
    each('truncate', {k: v for k, v in short.items() if k != 'fifo'}, lengths)
    each('ftruncate', [202] + fds, lengths)
    for mode in list(range(8)) + [8, 9, 0x10, 0x11, 0x20, 0x21, 0x40, 0x41, 0x80, 0x83, 1 << 31]:
        for fd in [202, 200, 203, 204, 206, -1]:
            for at, length in [(0, 4096), (0, 0), (-1, 1), (0, -1), ((1 << 63) - 1, 1), (1 << 62, 1 << 62)]:
                if mode in (0, 1, 2, 3) or (at, length) != (0, 4096): attempt('fallocate', '%d %#x %d %d' % (fd, mode, at, length), fd, mode, at, length)
    times = {'null': 0, 'kernel': BAD, 'hole': edge, 'cut': edge - 24}
    for label, numbers in dict(zero=(0, 0, 0, 0), nsec=(0, 10 ** 9, 0, 0), minus=(0, -1, 0, 0), second=(0, 0, 0, 10 ** 9), now=(0, (1 << 30) - 1, 0, 0), omit=(0, (1 << 30) - 2, 0, 0), both=(0, (1 << 30) - 2, 0, (1 << 30) - 2), old=(-5, 0, -5, 0)).items():
        times[label] = text(struct.pack('qqqq', *numbers))
    each('utimensat', dirs, short, times, bits)
    for fd in fds: attempt('utimensat', 'fd %d' % fd, fd, 0, 0, 0)
    each('utimes', short, {k: v for k, v in times.items() if k not in ('now', 'omit', 'both')})
    each('futimesat', dirs, short, {k: v for k, v in times.items() if k not in ('now', 'omit', 'both')})
    each('utime', short, {'null': 0, 'kernel': BAD, 'hole': edge, 'zero': text(bytes(16))})
    for name in ['getdents', 'getdents64']: each(name, [203] + fds, buffers, [4096, 0, 1, 8, 24, -1])
    each('lseek', fds, offsets, list(range(7)) + [-1])
    for name in ['read', 'write']: each(name, [202] + fds, buffers, [s for s in sizes])
    for name in ['pread64', 'pwrite64']: each(name, [202] + fds, buffers, sizes, offsets)
    rest = bytes(1025 * 16)  # empty ones, not what happens to lie behind
    vectors = {'good': text(iov((room, 4)) + rest), 'null': 0, 'kernel': BAD, 'minus': text(iov((room, (1 << 64) - 1)) + rest), 'sum': text(iov((room, (1 << 63) - 1), (room, (1 << 63) - 1)) + rest), 'bad': text(iov((BAD, 4)) + rest), 'half': text(iov((room, 4), (BAD, 4)) + rest), 'none': text(iov((0, 0)) + rest), 'cut': put(iov((room, 4)))}
    for name in ['readv', 'writev']: each(name, [202] + fds, vectors, [1, 0, 2, -1, 1024, 1025])
    for name in ['preadv', 'pwritev']: each(name, [202] + fds, vectors, [1, 0, 2, -1, 1025], offsets)
    for flag in bits:
        if flag not in (8, 0x40, 0x80, 0x100, 0xffffffff):  # not every file system and kernel knows these
            for fd in [202, 206, 203]: attempt('preadv2', '%d %#x' % (fd, flag), fd, vectors['good'], 1, 0, 0, flag); attempt('pwritev2', '%d %#x' % (fd, flag), fd, vectors['good'], 1, 0, 0, flag)
    spots = {'null': 0, 'kernel': BAD, 'hole': edge, 'zero': text(bytes(8)), 'minus': text(struct.pack('q', -1)), 'most': text(struct.pack('q', (1 << 63) - 1))}
    for a, b in itertools.product(fds, fds): attempt('copy_file_range', '%d %d' % (a, b), a, 0, b, 0, 4, 0)
    for a, b in itertools.product(spots, spots): attempt('copy_file_range', '%s %s' % (a, b), 200, spots[a], 202, spots[b], 4, 0)
    for flag in bits: attempt('copy_file_range', '%#x' % flag, 200, 0, 202, 0, 4, flag)
    for size in sizes: attempt('copy_file_range', 'size %d' % size, 200, spots['zero'], 202, spots['most'], size, 0)
    for a, b in itertools.product(fds, fds):
        attempt('splice', '%d %d' % (a, b), a, 0, b, 0, 4, 2); attempt('tee', '%d %d' % (a, b), a, b, 4, 2); attempt('sendfile', '%d %d' % (a, b), a, b, 0, 4)
    for a, b in itertools.product(spots, spots): attempt('splice', '%s %s' % (a, b), 200, spots[a], 207, spots[b], 4, 2); attempt('splice', 'out %s %s' % (a, b), 206, spots[a], 202, spots[b], 4, 2)
    for flag in bits:
        attempt('splice', '%#x' % flag, 200, 0, 207, 0, 4, flag | 2); attempt('tee', '%#x' % flag, 206, 207, 4, flag | 2); attempt('vmsplice', '%#x' % flag, 207, vectors['good'], 1, flag | 2)
    for spot in spots: attempt('sendfile', spot, 207, 200, spots[spot], 4)
    each('vmsplice', [207] + fds, vectors, [1, 0, -1, 1025], [2])
    for size in [0, 1, 7, 128, 129, 1 << 31, (1 << 32) - 1]: attempt('name_to_handle_at', 'size %d' % size, HERE, short['file'], text(struct.pack('II', size & 0xffffffff, 0) + bytes(200)), room, 0)
    for flag in bits:
        if flag not in (1, 2, 0x200, 0x1000, 0x400): attempt('name_to_handle_at', '%#x' % flag, HERE, short['file'], text(struct.pack('II', 0, 0) + bytes(200)), room, flag)
    for path in short: attempt('name_to_handle_at', path, HERE, short[path], text(struct.pack('II', 0, 0) + bytes(200)), room, 0)
    for fd in dirs: attempt('open_by_handle_at', str(fd), fd, text(struct.pack('II', 8, 1) + bytes(200)), 0)
    names = {name: text(name.encode()) for name in ['user.a', '', 'user.', 'a', 'foo.a', 'user', '.', 'trusted.a', 'security.', 'system.', 'system.none', 'user.' + 'n' * 250, 'user.' + 'n' * 251]}
    names = {name if len(name) < 40 else 'long%d' % len(name): at for name, at in names.items()}; names.update(null=0, kernel=BAD, cut=edge - 3)
    for prefix in ['', 'l']:
        each(prefix + 'setxattr', short, names, dict(room=room, null=0, kernel=BAD), [4, 0, 65537, -1, 1 << 31], list(range(6)) + [-1])
        each(prefix + 'getxattr', short, names, buffers, [8, 0, 65537, -1])
        each(prefix + 'listxattr', short, buffers, [8, 0, 65537, -1]); each(prefix + 'removexattr', short, names)
    each('fsetxattr', fds, names, dict(room=room, null=0, kernel=BAD), [4, 0, 65537], list(range(6))); each('fgetxattr', fds, {name: at for name, at in names.items() if name != 'security.'}, buffers, [8, 0])
    each('flistxattr', fds, buffers, [8, 0]); each('fremovexattr', fds, names)
    commands = [c for c in list(range(17)) + [36, 37, 99, 1023, 1024, 1025, 1026, 1027, 1029, 1030, 1031, 1032, 1033, 1034, 1035, 1036, 1037, 1038, 1039, 1040, 1041, 1100, -1] if c not in (7, 8, 9, 10, 38)]
    each('fcntl', [202] + fds, commands, {'zero': 0, 'minus': -1, 'kernel': BAD, 'hole': edge, 'room': room, 'one': 1})
    for kind, whence, at, length in itertools.product([0, 1, 2, 3, -1], [0, 1, 2, 3], [0, -1, (1 << 63) - 1], [0, 1, -1, (1 << 63) - 1]):
        for command in [5, 6, 36, 37]: attempt('fcntl', 'lock %d %d %d %d %d' % (command, kind, whence, at, length), 202, command, text(struct.pack('hhxxxxqqixxxx', kind, whence, at, length, 0)))
    each('flock', [202] + fds, [c | 4 for c in range(17)] + [0, 8, 16, 32 | 4, 64 | 4, 128 | 4, -1])
    for bit in bits: attempt('inotify_init1', '%#x' % bit, bit)
    inotify = libc.inotify_init1(os.O_NONBLOCK)
    os.dup2(inotify, 210); os.close(inotify)
    each('inotify_add_watch', [210, -1, 200, 199], short, bits[1:] + [0, 0x30000002, 0x10000002])
    for descriptor in [0, -1, 12345]: attempt('inotify_rm_watch', str(descriptor), 210, descriptor)
    for fd in fds: attempt('fsync', str(fd), fd); attempt('fdatasync', str(fd), fd); attempt('fchdir', str(fd), fd)
    each('sync_file_range', [202] + fds, offsets, offsets, list(range(9)) + [-1])
    each('fadvise64', [202] + fds, offsets, offsets, list(range(9)) + [-1])
    each('readahead', [200] + fds, offsets, [4, -1])
    each('chdir', short); each('chroot', short)
    each('getcwd', buffers, [4096, 0, 1, 5, -1])
    for flag in bits: attempt('dup3', '%#x' % flag, 200, 150, flag); attempt('pipe2', '%#x' % flag, put(bytes(8)), flag & ~0x80) if flag & ~0x80 not in (0, 0x800, 0x80000, 0x4000) else None
    attempt('dup3', 'same', 200, 200, 0); attempt('dup2', 'far', 200, 1 << 30); attempt('dup2', 'minus', 200, -1)
    for where, at in buffers.items():
        if where != 'room': attempt('pipe2', where, at, 0)
    for flag in bits: attempt('memfd_create', '%#x' % flag, short['file'], flag) if flag not in (4, 8, 0x10) and flag < 1 << 26 else None
    for path in short: attempt('memfd_create', path, short[path], 0)
    attempt('memfd_create', '249', text(b'n' * 249), 0); attempt('memfd_create', '250', text(b'n' * 250), 0)
    for flag in bits: attempt('eventfd2', '%#x' % flag, 0, flag); attempt('epoll_create1', '%#x' % flag, flag); attempt('timerfd_create', '%#x' % flag, 1, flag)
    for flag in bits: attempt('close_range', '%#x' % flag, 300, 200, flag)
    for at, length, flag in itertools.product([base, base + 1, BAD, edge + 4096 * 8], [4096, 0, -1, 1], [0, 1, 2, 4, 5, 8]): attempt('msync', '%s %d %d' % (at == base, length, flag), at, length, flag)
for place in sys.argv[1:]:
    os.chdir('/'); os.makedirs(place, exist_ok=True); os.chmod(place, 0o777)
sys.stdout.flush()
for place in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        os.chdir(place); top = 250; os.dup2(os.open('.', os.O_RDONLY), top); os.umask(0o022)
        os.setgroups([]); os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)
        print('in', os.path.basename(place)); fresh(); one(os.path.basename(place).split('-')[-1]); clean('.'); sys.stdout.flush(); os._exit(0)
    print('ended with', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])); sys.stdout.flush()
PY
chmod 755 .
python3 walk.py "$PWD/hostile-file-calls-volume" /var/tmp/hostile-file-calls-root ${PROGRAMS_HEAVY:+/dev/shm/hostile-file-calls-memory} > answers
wc -l < answers
cat answers
rm -rf hostile-file-calls-volume /dev/shm/hostile-file-calls-memory /var/tmp/hostile-file-calls-root answers walk.py
