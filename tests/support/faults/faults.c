// Stands in front of the C library's calls that change a file system. Once armed, the K-th of them fails, or all from
// the K-th on, or the process is killed there. A write that fails has written half of its bytes, but if interrupted.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static long calls, faulty;  // faulty is 0 unless armed
static int reason, lasting;
static const char *hit;  // the first call that failed
enum { kKilled = -1 };

void faults_arm(long at, int error, int from_there_on) {
    calls = 0;
    reason = error;
    lasting = from_there_on;
    hit = "";
    faulty = at;
}

const char *faults_hit(void) {
    return hit;
}

// Returns how many calls there were.
long faults_disarm(void) {
    faulty = 0;
    return calls;
}

static int due(const char *call) {
    if (faulty == 0) {
        return 0;
    }
    ++calls;
    if (calls == faulty) {
        hit = call;
    }
    return calls == faulty || (lasting && calls > faulty);
}

static int fail(void) {
    if (reason == kKilled) {
        kill(getpid(), SIGKILL);
        pause();
    }
    errno = reason;
    return -1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    if (file > STDERR_FILENO && due(__func__)) {
        if (reason != EINTR && REAL(write)(file, bytes, count / 2) < 0) {
            return -1;
        }
        return fail();
    }
    return REAL(write)(file, bytes, count);
}

int fsync(int file) {
    return due(__func__) ? fail() : REAL(fsync)(file);
}

int rename(const char *from, const char *to) {
    return due(__func__) ? fail() : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    return due(__func__) ? fail() : REAL(mkdir)(path, mode);
}

int rmdir(const char *path) {
    return due(__func__) ? fail() : REAL(rmdir)(path);
}

int unlink(const char *path) {
    return due(__func__) ? fail() : REAL(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags) {
    return due(__func__) ? fail() : REAL(unlinkat)(folder, path, flags);
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return (flags & O_CREAT) && due(__func__) ? fail() : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return (flags & O_CREAT) && due(__func__) ? fail() : REAL(open64)(path, flags, mode);
}
