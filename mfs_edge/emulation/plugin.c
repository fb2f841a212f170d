/* A QEMU plugin that counts guest instructions and logs the count at every mark.
 *
 * A mark is getpriority(which, MARK): a system call without effect that any guest language
 * can make. Declarations follow "QEMU TCG Plugins" (docs/devel/tcg-plugins.rst in QEMU); the
 * header is not packaged. -DPLUGIN_API=n is the interface version that the QEMU at hand takes.
 */
#include <stdint.h>
#include <stdio.h>

#define GETPRIORITY 141 /* on aarch64 */
#define MARK 0x6d6673

typedef uint64_t Id, Arg;
struct qemu_plugin_tb; /* a block of guest instructions that is entered at its start only */

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_outs(const char *text);
void qemu_plugin_register_vcpu_tb_trans_cb(Id id, void (*)(Id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(
    Id id, void (*)(Id, unsigned, int64_t, Arg, Arg, Arg, Arg, Arg, Arg, Arg, Arg));

int qemu_plugin_version = PLUGIN_API;
static uint64_t count;

static void executed(unsigned cpu, void *instructions) {
    (void)cpu;
    __atomic_fetch_add(&count, (uint64_t)(uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void translated(Id id, struct qemu_plugin_tb *block) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(Id id, unsigned cpu, int64_t number, Arg which, Arg who, Arg c, Arg d, Arg e, Arg f, Arg g, Arg h) {
    (void)id, (void)cpu, (void)which, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == GETPRIORITY && who == MARK) {
        char line[32];
        snprintf(line, sizeof line, "%llu\n", (unsigned long long)__atomic_load_n(&count, __ATOMIC_RELAXED));
        qemu_plugin_outs(line);
    }
}

int qemu_plugin_install(Id id, const void *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
