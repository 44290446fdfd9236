/* A closed loop of clients against one signing server, each a process that asks, waits for the answer, asks again.
 *
 * load MODE ADDRESS CLIENTS WARMUP_MS MEASURED_MS [-u UID] [-n COUNT] [-r] [-k LABEL -m MECHANISM -c CLASS] < REQUEST
 *
 * MODE is native (a SOCK_SEQPACKET frame), http (keep-alive on a Unix socket) or p11 (C_SignInit and C_Sign of the
 * module at ADDRESS; REQUEST is what is signed, LOAD_PIN in the environment the PIN). -u: as this user. -n: so many
 * requests of each client instead of a time. -r: a new connection for each request.
 *
 * Prints one line of JSON. An answer that says no is "refused", a connection that breaks or is not made is "failed".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SAMPLES = 1 << 23, ANSWER_BYTES = 1 << 17, GRACE_S = 60, MOST_FAILED = 1000, MOST_TRIES = 100 };
enum outcome { DONE, REFUSED, FAILED };

struct client {
    uint64_t outcomes[3];
    uint32_t samples;
    volatile int is_ready;
};

static struct {
    const char *mode, *address, *label;
    int clients, reconnects;
    long warmup_ms, measured_ms, uid, count;
    unsigned long mechanism, class;
} options = {.uid = -1};
static unsigned char request[1 << 16], answer[ANSWER_BYTES];
static size_t request_bytes;
static volatile uint64_t *begin_ns;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "load: %s\n", what);
    exit(2);
}

/* Sockets ---------------------------------------------------------------------------------------------------- */

static int connection = -1;

static int connect_to(int kind)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 20};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", options.address);
    connection = socket(AF_UNIX, kind, 0);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return connection >= 0 && !connect(connection, (struct sockaddr *)&name, sizeof name);
}

static void disconnect(void)
{
    if (connection >= 0)
        close(connection);
    connection = -1;
}

static enum outcome ask_native(void)
{
    if (connection < 0 && !connect_to(SOCK_SEQPACKET))
        return FAILED;
    /* Where it was turned away, the answer to that may already be there. */
    ssize_t sent = send(connection, request, request_bytes, MSG_NOSIGNAL);
    ssize_t got = recv(connection, answer, sizeof answer, 0);
    if (got < 16)
        return FAILED;
    (void)sent;
    return answer[1] ? REFUSED : DONE;
}

static enum outcome ask_http(void)
{
    if (connection < 0 && !connect_to(SOCK_STREAM))
        return FAILED;
    if (send(connection, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes)
        return FAILED;
    size_t have = 0, need = 0;
    while (!need || have < need) {
        ssize_t got = recv(connection, answer + have, sizeof answer - 1 - have, 0);
        if (got <= 0)
            return FAILED;
        have += got;
        answer[have] = 0;
        char *end = strstr((char *)answer, "\r\n\r\n"), *length = strcasestr((char *)answer, "\r\ncontent-length:");
        if (end)
            need = (end + 4 - (char *)answer) + (length ? strtoul(length + 17, NULL, 10) : 0);
    }
    return strncmp((char *)answer, "HTTP/1.1 200", 12) ? REFUSED : DONE;
}

/* PKCS#11 ---------------------------------------------------------------------------------------------------- */

typedef unsigned long CK_ULONG;
typedef struct { CK_ULONG type; const void *value; CK_ULONG length; } CK_ATTRIBUTE;
typedef struct { CK_ULONG mechanism; void *parameter; CK_ULONG length; } CK_MECHANISM;
/* Positions in CK_FUNCTION_LIST (PKCS#11 2.40, pkcs11f.h). */
enum { INITIALIZE = 0, FINALIZE = 1, GET_SLOT_LIST = 4, OPEN_SESSION = 12, LOGIN = 18, FIND_INIT = 26, FIND = 27, FIND_FINAL = 28, SIGN_INIT = 42, SIGN = 43 };
static struct { unsigned char version[2]; CK_ULONG (*function[68])(); } *module;
static CK_ULONG session, key;
#define CALL(position, ...) module->function[position](__VA_ARGS__)

/* What failed, or NULL. */
static const char *log_in(void)
{
    CK_ULONG slots[16], count = 16, found = 0;
    CK_ATTRIBUTE wanted[] = {{0, &options.class, sizeof options.class}, {3, options.label, strlen(options.label)}};
    const char *pin = getenv("LOAD_PIN");
    if (CALL(INITIALIZE, NULL) || CALL(GET_SLOT_LIST, 1, slots, &count) || !count)
        return "there is no token";
    if (CALL(OPEN_SESSION, slots[0], 6ul, NULL, NULL, &session))
        return "there is no session";
    if (CALL(LOGIN, session, 1ul, pin, pin ? strlen(pin) : 0ul))
        return "the login is refused";
    if (CALL(FIND_INIT, session, wanted, 2ul) || CALL(FIND, session, &key, 1ul, &found) || !found)
        return "there is no such key";
    CALL(FIND_FINAL, session);
    return NULL;
}

static void open_module(void)
{
    void *library = dlopen(options.address, RTLD_NOW);
    CK_ULONG (*get)(void *) = library ? (CK_ULONG (*)(void *))dlsym(library, "C_GetFunctionList") : NULL;
    const char *failed;
    if (!get || get(&module))
        fail("the module cannot be loaded");
    /* A p11-kit server that many clients call at once turns some away. */
    for (int tries = 0; (failed = log_in()); tries++) {
        if (tries == MOST_TRIES)
            fail(failed);
        CALL(FINALIZE, NULL);
        usleep(20000);
    }
}

static enum outcome ask_p11(void)
{
    CK_MECHANISM mechanism = {options.mechanism, NULL, 0};
    CK_ULONG length = sizeof answer;
    if (!module)
        open_module();
    if (CALL(SIGN_INIT, session, &mechanism, key))
        return REFUSED;
    return CALL(SIGN, session, request, (CK_ULONG)request_bytes, answer, &length) ? REFUSED : DONE;
}

/* The loop --------------------------------------------------------------------------------------------------- */

static void become(long uid)
{
    if (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
        fail("cannot become that user");
}

static void run(struct client *me, uint32_t *samples, uint32_t most, enum outcome (*ask)(void))
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(GRACE_S + (options.measured_ms + options.warmup_ms) / 1000 + options.count / 100);
    if (options.uid >= 0)
        become(options.uid);
    if (!options.count && !options.reconnects && ask() != DONE)
        fail("the first request is not answered");
    me->is_ready = 1;
    while (!*begin_ns)
        usleep(200);
    uint64_t from = *begin_ns + options.warmup_ms * 1000000ull, until = from + options.measured_ms * 1000000ull;
    for (long asked = 0; options.count ? asked < options.count : now_ns() < until; asked++) {
        uint64_t start = now_ns();
        enum outcome outcome = ask();
        uint64_t spent = now_ns() - start;
        if (start >= from || options.count) {
            me->outcomes[outcome]++;
            if (me->samples < most && outcome != FAILED)
                samples[me->samples++] = spent > UINT32_MAX ? UINT32_MAX : spent;
        }
        if (outcome == FAILED && me->outcomes[FAILED] > MOST_FAILED)
            break;
        if (options.reconnects || outcome == FAILED)
            disconnect();
    }
    _exit(0);
}

static int ascending(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void *shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        fail("no memory");
    return memory;
}

static void report(struct client *clients, uint32_t *samples, uint32_t most, uint64_t spent_ns)
{
    uint64_t outcomes[3] = {0};
    size_t count = 0;
    for (int i = 0; i < options.clients; i++) {
        for (int each = 0; each < 3; each++)
            outcomes[each] += clients[i].outcomes[each];
        memmove(samples + count, samples + (size_t)i * most, clients[i].samples * sizeof *samples);
        count += clients[i].samples;
    }
    qsort(samples, count, sizeof *samples, ascending);
    double p50 = count ? samples[count / 2] : 0, p99 = count ? samples[count * 99 / 100] : 0, worst = count ? samples[count - 1] : 0;
    printf("{\"done\":%lu,\"refused\":%lu,\"failed\":%lu,\"seconds\":%.6f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"worst_us\":%.1f}\n",
           outcomes[DONE], outcomes[REFUSED], outcomes[FAILED], spent_ns / 1e9, p50 / 1e3, p99 / 1e3, worst / 1e3);
}

static void read_options(int count, char **words)
{
    if (count < 6)
        fail("MODE ADDRESS CLIENTS WARMUP_MS MEASURED_MS");
    options.mode = words[1], options.address = words[2], options.clients = atoi(words[3]);
    options.warmup_ms = atol(words[4]), options.measured_ms = atol(words[5]);
    optind = 6;
    for (int option; (option = getopt(count, words, "u:n:rk:m:c:")) != -1;)
        switch (option) {
        case 'u': options.uid = atol(optarg); break;
        case 'n': options.count = atol(optarg); break;
        case 'r': options.reconnects = 1; break;
        case 'k': options.label = optarg; break;
        case 'm': options.mechanism = strtoul(optarg, NULL, 0); break;
        case 'c': options.class = strtoul(optarg, NULL, 0); break;
        default: fail("unknown option");
        }
}

int main(int count, char **words)
{
    read_options(count, words);
    request_bytes = fread(request, 1, sizeof request, stdin);
    enum outcome (*ask)(void) = *options.mode == 'n' ? ask_native : *options.mode == 'h' ? ask_http : ask_p11;
    uint32_t most = MOST_SAMPLES / options.clients;
    struct client *clients = shared(options.clients * sizeof *clients);
    uint32_t *samples = shared((size_t)most * options.clients * sizeof *samples);
    begin_ns = shared(sizeof *begin_ns);
    for (int i = 0; i < options.clients; i++)
        if (!fork())
            run(&clients[i], samples + (size_t)i * most, most, ask);
    for (int i = 0; i < options.clients; i++)
        while (!clients[i].is_ready) {
            int status;
            if (waitpid(-1, &status, WNOHANG) > 0)
                fail("a client ended before it began");
            usleep(1000);
        }
    uint64_t began = *begin_ns = now_ns();
    for (int status, failed = 0, left = options.clients; left; left--) {
        wait(&status);
        if (status && !failed++)
            fprintf(stderr, "load: a client ended with status %d\n", status);
        if (left == 1 && failed)
            return 2;
    }
    uint64_t spent = now_ns() - began;
    report(clients, samples, most, options.count ? spent : options.measured_ms * 1000000ull);
    return 0;
}
