/*
 * Stands in for libpcap: every function the `pcap` crate (2.5, on Unix) refers to, each loading the real library on
 * first use and passing the call on. Where libpcap is not installed, or too old to have the function, the call fails
 * the way libpcap's own does, with a message that says what to install.
 *
 * Types are opaque here: arguments are passed through, never looked into. A `struct bpf_program *` and the like are
 * therefore `void *`, which the calling convention passes alike.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>

/* PCAP_ERRBUF_SIZE and PCAP_ERROR of pcap/pcap.h. */
#define ERRBUF_SIZE 256
#define PCAP_ERROR (-1)

static char MISSING[] = "libpcap is not installed: apt install libpcap0.8";

static void *library;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

static void load(void) {
    static const char *const names[] = {
#ifdef __APPLE__
        "libpcap.dylib", "libpcap.A.dylib", "/usr/lib/libpcap.A.dylib",
#else
        /* Upstream's name, Debian's name, and the one that comes with the development files. */
        "libpcap.so.1", "libpcap.so.0.8", "libpcap.so",
#endif
    };
    for (size_t i = 0; library == NULL && i < sizeof names / sizeof *names; i++) {
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    }
}

static void *find(const char *name) {
    pthread_once(&loaded, load);
    return library == NULL ? NULL : dlsym(library, name);
}

/* The real function's address, looked up once. Two threads may both look; they find the same. */
#define REAL(name, type)                                               \
    static type cached;                                                \
    type real = __atomic_load_n(&cached, __ATOMIC_ACQUIRE);            \
    if (real == NULL) {                                                \
        real = (type)find(#name);                                      \
        __atomic_store_n(&cached, real, __ATOMIC_RELEASE);             \
    }

/* A function with a result; `missing` is run and its value given back where there is no real one. */
#define FORWARD(result, name, parameters, arguments, missing)          \
    result name parameters;                                            \
    result name parameters {                                           \
        typedef result(*type) parameters;                              \
        REAL(name, type)                                               \
        if (real == NULL) {                                            \
            return missing;                                            \
        }                                                              \
        return real arguments;                                         \
    }

/* A function without a result; does nothing where there is no real one. */
#define FORWARD_VOID(name, parameters, arguments)                      \
    void name parameters;                                              \
    void name parameters {                                             \
        typedef void (*type) parameters;                               \
        REAL(name, type)                                               \
        if (real != NULL) {                                            \
            real arguments;                                            \
        }                                                              \
    }

static void *explain(char *errbuf) {
    if (errbuf != NULL) {
        snprintf(errbuf, ERRBUF_SIZE, "%s", MISSING);
    }
    return NULL;
}

static int refuse(char *errbuf) {
    explain(errbuf);
    return PCAP_ERROR;
}

typedef void (*handler)(unsigned char *, const void *, const unsigned char *);

/* Opening and closing. */
FORWARD(void *, pcap_create, (const char *device, char *errbuf), (device, errbuf), explain(errbuf))
FORWARD(int, pcap_activate, (void *p), (p), PCAP_ERROR)
FORWARD(void *, pcap_open_dead, (int link, int snaplen), (link, snaplen), NULL)
FORWARD(void *, pcap_open_dead_with_tstamp_precision, (int link, int snaplen, unsigned precision),
        (link, snaplen, precision), NULL)
FORWARD(void *, pcap_open_offline, (const char *file, char *errbuf), (file, errbuf), explain(errbuf))
FORWARD(void *, pcap_open_offline_with_tstamp_precision, (const char *file, unsigned precision, char *errbuf),
        (file, precision, errbuf), explain(errbuf))
FORWARD(void *, pcap_fopen_offline, (FILE *file, char *errbuf), (file, errbuf), explain(errbuf))
FORWARD(void *, pcap_fopen_offline_with_tstamp_precision, (FILE *file, unsigned precision, char *errbuf),
        (file, precision, errbuf), explain(errbuf))
FORWARD_VOID(pcap_close, (void *p), (p))

/* Options of a capture that is not active yet. */
FORWARD(int, pcap_set_snaplen, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_promisc, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_rfmon, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_timeout, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_buffer_size, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_immediate_mode, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_tstamp_type, (void *p, int value), (p, value), PCAP_ERROR)
FORWARD(int, pcap_set_tstamp_precision, (void *p, int value), (p, value), PCAP_ERROR)
#ifdef __APPLE__
FORWARD(int, pcap_set_want_pktap, (void *p, int value), (p, value), PCAP_ERROR)
#endif

/* Reading. */
FORWARD(int, pcap_loop, (void *p, int count, handler each, unsigned char *user), (p, count, each, user), PCAP_ERROR)
FORWARD(int, pcap_dispatch, (void *p, int count, handler each, unsigned char *user), (p, count, each, user),
        PCAP_ERROR)
FORWARD(int, pcap_next_ex, (void *p, void **header, const unsigned char **bytes), (p, header, bytes), PCAP_ERROR)
FORWARD_VOID(pcap_breakloop, (void *p), (p))
FORWARD(int, pcap_stats, (void *p, void *stats), (p, stats), PCAP_ERROR)
FORWARD(int, pcap_setdirection, (void *p, unsigned direction), (p, direction), PCAP_ERROR)
FORWARD(int, pcap_setnonblock, (void *p, int value, char *errbuf), (p, value, errbuf), refuse(errbuf))
FORWARD(int, pcap_fileno, (void *p), (p), PCAP_ERROR)
FORWARD(int, pcap_get_selectable_fd, (void *p), (p), PCAP_ERROR)
FORWARD(int, pcap_major_version, (void *p), (p), 0)
FORWARD(int, pcap_minor_version, (void *p), (p), 0)
FORWARD(char *, pcap_geterr, (void *p), (p), MISSING)

/* Sending. */
FORWARD(int, pcap_sendpacket, (void *p, const unsigned char *bytes, int len), (p, bytes, len), PCAP_ERROR)

/* Filters. */
FORWARD(int, pcap_compile, (void *p, void *program, const char *text, int optimize, unsigned netmask),
        (p, program, text, optimize, netmask), PCAP_ERROR)
FORWARD(int, pcap_setfilter, (void *p, void *program), (p, program), PCAP_ERROR)
FORWARD_VOID(pcap_freecode, (void *program), (program))
FORWARD(int, pcap_offline_filter, (const void *program, const void *header, const unsigned char *bytes),
        (program, header, bytes), 0)

/* Link types. */
FORWARD(int, pcap_datalink, (void *p), (p), PCAP_ERROR)
FORWARD(int, pcap_set_datalink, (void *p, int link), (p, link), PCAP_ERROR)
FORWARD(int, pcap_list_datalinks, (void *p, int **links), (p, links), PCAP_ERROR)
FORWARD_VOID(pcap_free_datalinks, (int *links), (links))
FORWARD(int, pcap_datalink_name_to_val, (const char *name), (name), PCAP_ERROR)
FORWARD(const char *, pcap_datalink_val_to_name, (int link), (link), NULL)
FORWARD(const char *, pcap_datalink_val_to_description, (int link), (link), NULL)

/* Writing. */
FORWARD(void *, pcap_dump_open, (void *p, const char *file), (p, file), NULL)
FORWARD(void *, pcap_dump_open_append, (void *p, const char *file), (p, file), NULL)
FORWARD(void *, pcap_dump_fopen, (void *p, FILE *file), (p, file), NULL)
FORWARD_VOID(pcap_dump, (unsigned char *dumper, const void *header, const unsigned char *bytes),
             (dumper, header, bytes))
FORWARD(int, pcap_dump_flush, (void *dumper), (dumper), PCAP_ERROR)
FORWARD_VOID(pcap_dump_close, (void *dumper), (dumper))

/* Interfaces. */
FORWARD(int, pcap_findalldevs, (void **devices, char *errbuf), (devices, errbuf), refuse(errbuf))
FORWARD_VOID(pcap_freealldevs, (void *devices), (devices))
