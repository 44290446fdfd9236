/* A PKCS#11 module for tests: passes every call on to a real module, and fails or delays where it is told to.
 *
 * Built with: cc -shared -fPIC -O2 -o shim.so shim.c -ldl -lpthread
 * SECRETSD_SHIM_MODULE names the real module, SECRETSD_SHIM_CONTROL a file of sizeof(struct control), which is
 * mapped: whoever writes to it steers a running process, and reads there how often each function was called.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
typedef struct { CK_ULONG type; void *value; CK_ULONG length; } CK_ATTRIBUTE;
typedef struct { CK_ULONG mechanism; void *parameter; CK_ULONG length; } CK_MECHANISM;
typedef struct { unsigned char *iv; CK_ULONG iv_bytes, iv_bits; unsigned char *aad; CK_ULONG aad_bytes, tag_bits; } CK_GCM_PARAMS;

enum { FUNCTIONS = 68, CKM_AES_GCM = 0x1087, CKA_LABEL = 3, CKA_CLASS = 0, CKO_PUBLIC_KEY = 2, CKR_ARGUMENTS_BAD = 7, CKR_MECHANISM_INVALID = 0x70 };

static const CK_ULONG KEY_WRAP = 0x210A, OWN_KEY_WRAP = 0x8000216F;

/* Positions in CK_FUNCTION_LIST (PKCS#11 2.40, pkcs11f.h). */
enum {
    C_Initialize, C_Finalize, C_GetInfo, C_GetFunctionList, C_GetSlotList, C_GetSlotInfo, C_GetTokenInfo,
    C_GetMechanismList, C_GetMechanismInfo, C_InitToken, C_InitPIN, C_SetPIN, C_OpenSession, C_CloseSession,
    C_CloseAllSessions, C_GetSessionInfo, C_GetOperationState, C_SetOperationState, C_Login, C_Logout,
    C_CreateObject, C_CopyObject, C_DestroyObject, C_GetObjectSize, C_GetAttributeValue, C_SetAttributeValue,
    C_FindObjectsInit, C_FindObjects, C_FindObjectsFinal, C_EncryptInit, C_Encrypt,
    C_SignInit = 42, C_Sign = 43, C_WrapKey = 60, C_UnwrapKey = 61,
};

struct control {
    uint32_t rv[FUNCTIONS];       /* what to return instead of calling; 0: call */
    uint32_t times[FUNCTIONS];    /* how often; UINT32_MAX: for ever */
    uint32_t delay_us[FUNCTIONS]; /* before each call */
    uint32_t calls[FUNCTIONS];    /* counted here */
    uint32_t writes_iv;           /* C_EncryptInit writes 12 times 0xA5 where the IV of AES-GCM is; with 2 only
                                     into zeros, all else is refused; with 3 it refuses and writes nothing */
    uint32_t own_wrap;            /* CKM_AES_KEY_WRAP_PAD has CloudHSM's number alone */
    char only_label[64];          /* fail and delay signing for keys with this label alone; empty: for all */
};

static struct { unsigned char version[2]; void *function[FUNCTIONS]; } list, *real;
static volatile struct control *control;
static CK_ULONG chosen[1024]; /* handles of keys whose label is `only_label` */
static unsigned chosen_count;
static __thread CK_ULONG signing_key;

#define REAL(position, type) ((type)real->function[position])

static CK_RV meddle(int position)
{
    __atomic_add_fetch(&control->calls[position], 1, __ATOMIC_RELAXED);
    if (control->delay_us[position]) {
        struct timespec pause = {control->delay_us[position] / 1000000, control->delay_us[position] % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
    uint32_t rv = control->rv[position];
    if (!rv)
        return 0;
    for (;;) {
        uint32_t left = control->times[position];
        if (left == UINT32_MAX)
            return rv;
        if (!left)
            return 0;
        if (__atomic_compare_exchange_n(&control->times[position], &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return rv;
    }
}

static int is_chosen(CK_ULONG key)
{
    if (!control->only_label[0])
        return 1;
    for (unsigned i = 0; i < chosen_count; i++)
        if (chosen[i] == key)
            return 1;
    return 0;
}

static CK_RV initialize(void *arguments)
{
    CK_RV rv = meddle(C_Initialize);
    return rv ? rv : REAL(C_Initialize, CK_RV (*)(void *))(arguments);
}

static CK_RV finalize(void *reserved)
{
    CK_RV rv = meddle(C_Finalize);
    return rv ? rv : REAL(C_Finalize, CK_RV (*)(void *))(reserved);
}

static CK_RV open_session(CK_ULONG slot, CK_ULONG flags, void *application, void *notify, CK_ULONG *session)
{
    CK_RV rv = meddle(C_OpenSession);
    return rv ? rv : REAL(C_OpenSession, CK_RV (*)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *))(slot, flags, application, notify, session);
}

static CK_RV login(CK_ULONG session, CK_ULONG user, unsigned char *pin, CK_ULONG length)
{
    CK_RV rv = meddle(C_Login);
    return rv ? rv : REAL(C_Login, CK_RV (*)(CK_ULONG, CK_ULONG, unsigned char *, CK_ULONG))(session, user, pin, length);
}

static CK_RV find_objects(CK_ULONG session, CK_ULONG *objects, CK_ULONG most, CK_ULONG *count)
{
    CK_RV rv = meddle(C_FindObjects);
    if (rv)
        return rv;
    rv = REAL(C_FindObjects, CK_RV (*)(CK_ULONG, CK_ULONG *, CK_ULONG, CK_ULONG *))(session, objects, most, count);
    if (rv || !control->only_label[0])
        return rv;
    for (CK_ULONG i = 0; i < *count; i++) {
        char label[64] = {0};
        CK_ATTRIBUTE attribute = {CKA_LABEL, label, sizeof label - 1};
        if (!REAL(C_GetAttributeValue, CK_RV (*)(CK_ULONG, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG))(session, objects[i], &attribute, 1)
            && !strcmp(label, (const char *)control->only_label) && chosen_count < 1024)
            chosen[chosen_count++] = objects[i];
    }
    return 0;
}

/* Faults are for public keys: the second half of a pair. */
static CK_RV create_object(CK_ULONG session, CK_ATTRIBUTE *template, CK_ULONG count, CK_ULONG *object)
{
    CK_RV rv = 0;
    for (CK_ULONG i = 0; i < count; i++)
        if (template[i].type == CKA_CLASS && *(CK_ULONG *)template[i].value == CKO_PUBLIC_KEY)
            rv = meddle(C_CreateObject);
    return rv ? rv : REAL(C_CreateObject, CK_RV (*)(CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *))(session, template, count, object);
}

static CK_RV encrypt_init(CK_ULONG session, CK_MECHANISM *mechanism, CK_ULONG key)
{
    CK_RV rv = meddle(C_EncryptInit);
    if (rv)
        return rv;
    if (control->writes_iv && mechanism->mechanism == CKM_AES_GCM) {
        unsigned char *iv = ((CK_GCM_PARAMS *)mechanism->parameter)->iv;
        static const unsigned char zeros[12];
        if (control->writes_iv > 1 && memcmp(iv, zeros, 12))
            return CKR_ARGUMENTS_BAD;
        if (control->writes_iv < 3)
            memset(iv, 0xA5, 12);
    }
    return REAL(C_EncryptInit, CK_RV (*)(CK_ULONG, CK_MECHANISM *, CK_ULONG))(session, mechanism, key);
}

static CK_RV mechanism_list(CK_ULONG slot, CK_ULONG *mechanisms, CK_ULONG *count)
{
    CK_RV rv = REAL(C_GetMechanismList, CK_RV (*)(CK_ULONG, CK_ULONG *, CK_ULONG *))(slot, mechanisms, count);
    for (CK_ULONG i = 0; !rv && mechanisms && control->own_wrap && i < *count; i++)
        if (mechanisms[i] == KEY_WRAP)
            mechanisms[i] = OWN_KEY_WRAP;
    return rv;
}

/* The mechanism as the real module knows it; its number is 0 where it must not be known. */
static CK_MECHANISM wrap_mechanism(const CK_MECHANISM *mechanism)
{
    CK_MECHANISM known = *mechanism;
    if (control->own_wrap)
        known.mechanism = known.mechanism == OWN_KEY_WRAP ? KEY_WRAP : 0;
    return known;
}

static CK_RV wrap_key(CK_ULONG session, CK_MECHANISM *mechanism, CK_ULONG by, CK_ULONG key, unsigned char *wrapped, CK_ULONG *length)
{
    CK_MECHANISM known = wrap_mechanism(mechanism);
    if (control->own_wrap && !known.mechanism)
        return CKR_MECHANISM_INVALID;
    return REAL(C_WrapKey, CK_RV (*)(CK_ULONG, CK_MECHANISM *, CK_ULONG, CK_ULONG, unsigned char *, CK_ULONG *))(session, &known, by, key, wrapped, length);
}

static CK_RV unwrap_key(CK_ULONG session, CK_MECHANISM *mechanism, CK_ULONG by, unsigned char *wrapped, CK_ULONG length, CK_ATTRIBUTE *template, CK_ULONG count, CK_ULONG *key)
{
    CK_MECHANISM known = wrap_mechanism(mechanism);
    if (control->own_wrap && !known.mechanism)
        return CKR_MECHANISM_INVALID;
    return REAL(C_UnwrapKey, CK_RV (*)(CK_ULONG, CK_MECHANISM *, CK_ULONG, unsigned char *, CK_ULONG, CK_ATTRIBUTE *, CK_ULONG, CK_ULONG *))(session, &known, by, wrapped, length, template, count, key);
}

static CK_RV sign_init(CK_ULONG session, CK_MECHANISM *mechanism, CK_ULONG key)
{
    signing_key = key;
    CK_RV rv = is_chosen(key) ? meddle(C_SignInit) : 0;
    return rv ? rv : REAL(C_SignInit, CK_RV (*)(CK_ULONG, CK_MECHANISM *, CK_ULONG))(session, mechanism, key);
}

static CK_RV sign(CK_ULONG session, unsigned char *data, CK_ULONG length, unsigned char *signature, CK_ULONG *signature_length)
{
    /* The first of two calls only asks for the length. */
    CK_RV rv = signature && is_chosen(signing_key) ? meddle(C_Sign) : 0;
    return rv ? rv : REAL(C_Sign, CK_RV (*)(CK_ULONG, unsigned char *, CK_ULONG, unsigned char *, CK_ULONG *))(session, data, length, signature, signature_length);
}

static void fail(const char *what)
{
    fprintf(stderr, "shim: %s\n", what);
    abort();
}

CK_RV C_GetFunctionList_(void **result) __asm__("C_GetFunctionList");
CK_RV C_GetFunctionList_(void **result)
{
    if (!real) {
        const char *path = getenv("SECRETSD_SHIM_CONTROL"), *module = getenv("SECRETSD_SHIM_MODULE");
        int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        if (file < 0)
            fail("cannot open the file of SECRETSD_SHIM_CONTROL");
        control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        void *library = module ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
        CK_RV (*get)(void **) = library ? (CK_RV (*)(void **))dlsym(library, "C_GetFunctionList") : NULL;
        void *found;
        if (control == MAP_FAILED || !get || get(&found))
            fail("cannot load the module of SECRETSD_SHIM_MODULE");
        memcpy(&list, found, sizeof list);
        list.function[C_Initialize] = initialize;
        list.function[C_Finalize] = finalize;
        list.function[C_OpenSession] = open_session;
        list.function[C_Login] = login;
        list.function[C_FindObjects] = find_objects;
        list.function[C_CreateObject] = create_object;
        list.function[C_EncryptInit] = encrypt_init;
        list.function[C_GetMechanismList] = mechanism_list;
        list.function[C_WrapKey] = wrap_key;
        list.function[C_UnwrapKey] = unwrap_key;
        list.function[C_SignInit] = sign_init;
        list.function[C_Sign] = sign;
        real = found;
    }
    *result = &list;
    return 0;
}
