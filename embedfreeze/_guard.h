/* Guards of mapped files: while a mapping is guarded, a page that its file no longer has reads as
 * zeros, where the kernel would end the process with SIGBUS, and a mark says that it happened.
 * The way of libwayland's wl_shm_buffer_begin_access. Ranges come and go under the GIL; the
 * handler alone runs at any time, so it takes no lock and calls only what a handler may. */
#ifndef EMBEDFREEZE_GUARD_H
#define EMBEDFREEZE_GUARD_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define EF_GUARDS 4096

typedef struct {
    uintptr_t start, stop; /* start is 0 while the place is free */
    int hit;               /* a page of it was replaced */
} ef_guard;

static ef_guard ef_guards[EF_GUARDS];
static int ef_guard_count;
static uintptr_t ef_page_size;
static struct sigaction ef_before; /* who answered SIGBUS before the first guard */

/* Zeros from the page of this address to the end of the guarded range around it, if there is one. */
static int ef_guard_fill(uintptr_t at)
{
    for (int i = 0; i < EF_GUARDS; i++) {
        ef_guard *guard = &ef_guards[i];
        uintptr_t start = __atomic_load_n(&guard->start, __ATOMIC_ACQUIRE);
        uintptr_t stop = __atomic_load_n(&guard->stop, __ATOMIC_ACQUIRE);
        if (!start || at < start || at >= stop ||
            start != __atomic_load_n(&guard->start, __ATOMIC_ACQUIRE))
            continue;
        __atomic_store_n(&guard->hit, 1, __ATOMIC_RELEASE);
        uintptr_t page = at - at % ef_page_size;
        return mmap((void *)page, stop - page, PROT_READ,
                    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
    }
    return 0;
}

static void ef_on_sigbus(int number, siginfo_t *info, void *context);

static int ef_is_ours(void)
{
    struct sigaction now;
    return sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction == ef_on_sigbus;
}

/* Ask the handler before ours. One that puts its own predecessor back and sends the signal anew,
 * as faulthandler's does, may have been set over ours: then we would ask each other for ever. */
static void ef_ask_before(int number, siginfo_t *info, void *context)
{
    sigset_t waiting;
    if (ef_before.sa_flags & SA_SIGINFO)
        ef_before.sa_sigaction(number, info, context);
    else
        ef_before.sa_handler(number);
    if (sigpending(&waiting) == 0 && sigismember(&waiting, number) == 1 && ef_is_ours())
        signal(number, SIG_DFL);
}

/* A signal that is not ours goes where it would have gone without us. */
static void ef_hand_on(int number, siginfo_t *info, void *context)
{
    int sent = info->si_code <= 0; /* by a process, not by a fault of this thread */
    if (ef_before.sa_handler != SIG_DFL && ef_before.sa_handler != SIG_IGN) {
        ef_ask_before(number, info, context);
    } else if (!sent || ef_before.sa_handler == SIG_DFL) {
        signal(number, SIG_DFL);
        if (sent) /* a fault comes again by itself */
            raise(number);
    }
}

static void ef_on_sigbus(int number, siginfo_t *info, void *context)
{
    int error = errno;
    if (info->si_code != BUS_ADRERR || !ef_guard_fill((uintptr_t)info->si_addr))
        ef_hand_on(number, info, context);
    errno = error;
}

static int ef_guard_install(void)
{
    struct sigaction ours = {0};
    ours.sa_sigaction = ef_on_sigbus;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    ef_page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    return sigaction(SIGBUS, &ours, &ef_before) == 0;
}

/* Leave SIGBUS as it was found, unless somebody else has set a handler over ours since. */
static void ef_guard_uninstall(void)
{
    if (ef_is_ours())
        sigaction(SIGBUS, &ef_before, NULL);
}

/* Guard a range that begins at a page; its place, or -1 with errno set. */
static int ef_guard_enter(uintptr_t start, uintptr_t len)
{
    if (ef_guard_count == EF_GUARDS) {
        errno = EMFILE;
        return -1;
    }
    if (!ef_guard_count && !ef_guard_install())
        return -1;
    int place = 0;
    while (ef_guards[place].start)
        place++;
    ef_guard *guard = &ef_guards[place];
    __atomic_store_n(&guard->hit, 0, __ATOMIC_RELAXED);
    uintptr_t pages = (len + ef_page_size - 1) / ef_page_size;
    __atomic_store_n(&guard->stop, start + pages * ef_page_size, __ATOMIC_RELEASE);
    __atomic_store_n(&guard->start, start, __ATOMIC_RELEASE);
    ef_guard_count++;
    return place;
}

static int ef_guard_is_used(int place)
{
    return place >= 0 && place < EF_GUARDS && ef_guards[place].start;
}

static int ef_guard_hit(int place)
{
    return __atomic_load_n(&ef_guards[place].hit, __ATOMIC_ACQUIRE);
}

/* To be called before the range is unmapped: others may be mapped there afterwards. */
static int ef_guard_leave(int place)
{
    __atomic_store_n(&ef_guards[place].start, (uintptr_t)0, __ATOMIC_RELEASE);
    if (--ef_guard_count == 0)
        ef_guard_uninstall();
    return ef_guard_hit(place);
}

#endif
