# A guest kernel that says how it was started: x86-64.
#
# It is entered by the 64-bit boot protocol of Documentation/arch/x86/boot.rst ("64-bit BOOT PROTOCOL"): long
# mode, paging on with an identity map, interrupts off, RSI = boot_params. Nothing else is relied on: not on
# a stack (RSP is usually 0), not on firmware, not on an IDT. It writes a report to COM1, one `name=value` per
# line, and stops the machine with a triple fault, which ends QEMU when it runs with -no-reboot.
#
# Values are hex (0x, lower case, no leading zeros), except counts of things: e820 indices and types,
# pageTables.tables, .leaf4k, .leaf2m, .leaf1g and .identity, which are decimal.
#
# "SDM" is Intel's Software Developer's Manual, with the chapters as numbered since 2022; 3A is its system
# programming guide.
#
# All memory is addressed relative to RIP: a loader may move the image, and `rip` in the report says where to.
# The file's bytes (.rodata, .text, .data) are never written, so their CRCs can be compared with the file.
#
# Calling convention in here: arguments in RAX, RSI, RDI and RCX as each routine says; RBX, RBP and R12-R15
# survive every call, the others survive only where a routine says so.

    .intel_syntax noprefix
    .code64

    # COM1, a 16550 UART. Register names as in its data sheet.
    .set COM1,              0x3f8
    .set UART_THR,          COM1 + 0        # transmitter holding register (divisor, low, while DLAB is set)
    .set UART_IER,          COM1 + 1        # interrupt enable (divisor, high, while DLAB is set)
    .set UART_FCR,          COM1 + 2        # FIFO control
    .set UART_LCR,          COM1 + 3        # line control
    .set UART_LSR,          COM1 + 5        # line status
    .set LSR_THR_EMPTY,     0x20
    .set LSR_IDLE,          0x40            # holding and shift register both empty
    # Polls before the UART is given up. One takes about a microsecond, as each is an exit to the emulator.
    .set UART_POLLS,        1000000

    # Model-specific registers: SDM volume 4, table 2-2; MTRRs: SDM 3A, section 12.11.2.
    .set IA32_MTRRCAP,      0xfe
    .set IA32_PAT,          0x277
    .set IA32_MTRR_DEF_TYPE, 0x2ff
    .set IA32_EFER,         0xc0000080
    .set MTRRCAP_FIX,       1 << 8
    .set MTRR_PAIRS_MAX,    5               # as many as the importer has registers for

    .set CPUID_EDX_MTRR,    1 << 12
    .set CPUID_EDX_PAT,     1 << 16

    # Page table entries: SDM 3A, section 4.5.4, tables 4-15 to 4-20.
    .set PTE_PRESENT,       1 << 0
    .set PTE_WRITABLE,      1 << 1
    .set PTE_ACCESSED,      1 << 5
    .set PTE_DIRTY,         1 << 6
    .set PTE_LARGE,         1 << 7
    .set PTE_ADDRESS,       0x000ffffffffff000
    .set PTE_LINK,          PTE_PRESENT | PTE_WRITABLE | PTE_ACCESSED
    .set PTE_LARGE_LEAF,    PTE_LINK | PTE_DIRTY | PTE_LARGE

    # struct boot_params: the kernel's arch/x86/include/uapi/asm/bootparam.h.
    .set BP_EXT_RAMDISK_IMAGE, 0x0c0
    .set BP_EXT_RAMDISK_SIZE,  0x0c4
    .set BP_EXT_CMD_LINE_PTR,  0x0c8
    .set BP_E820_ENTRIES,      0x1e8
    .set BP_RAMDISK_IMAGE,     0x218
    .set BP_RAMDISK_SIZE,      0x21c
    .set BP_CMD_LINE_PTR,      0x228
    .set BP_E820_TABLE,        0x2d0
    .set BP_SIZE,              0x1000
    .set E820_ENTRY_SIZE,      20
    .set E820_ENTRIES_MAX,     128
    .set COMMAND_LINE_MAX,     2047          # COMMAND_LINE_SIZE of x86, less the NUL

    .set RSDP_PAGE,         0xe0000
    .set ACPI_TABLES_PAGE,  0xe1000
    .set PAGE_SIZE,         0x1000
    .set FOUR_GIB,          1 << 32

    # Where the window for memory past the plan's map appears: see crc32_physical.
    .set WINDOW_SLOT,       255
    .set WINDOW_BASE,       WINDOW_SLOT << 39
    .set WINDOW_SIZE,       1 << 30
    .set LARGE_PAGE_SIZE,   1 << 21

    # Prints a text.
    .macro SAY text
    .pushsection .rodata
.Ltext\@:
    .asciz "\text"
    .popsection
    lea     rsi, [rip + .Ltext\@]
    call    put_text
    .endm

    # Prints the line `name=RAX`, in hex.
    .macro REPORT name
    SAY     "\name="
    call    put_hex_line
    .endm

    # Prints the line `name=RAX`, in decimal.
    .macro REPORT_COUNT name
    SAY     "\name="
    call    put_decimal
    call    put_newline
    .endm

    .section .rodata

# In the order of entry_state.
entry_names:
    .asciz  "rip=", "rsi=", "rsp=", "rflags=", "rax=", "rbx=", "rcx=", "rdx=", "rdi=", "rbp="
    .asciz  "r8=", "r9=", "r10=", "r11=", "r12=", "r13=", "r14=", "r15="
    .set ENTRY_REGISTERS, 18

    # A list of MSRs: number, then the text before its value.
    .macro MSR number, name
    .long   \number
    .asciz  "\name="
    .endm

fixed_mtrrs:
    MSR     0x250, mtrrFix64k00000
    MSR     0x258, mtrrFix16k80000
    MSR     0x26c, mtrrFix4kE0000
    MSR     0x26d, mtrrFix4kE8000
    MSR     0x26e, mtrrFix4kF0000
    MSR     0x26f, mtrrFix4kF8000
    .set FIXED_MTRRS, 6

variable_mtrrs:
    MSR     0x200, mtrrPhysBase0
    MSR     0x201, mtrrPhysMask0
    MSR     0x202, mtrrPhysBase1
    MSR     0x203, mtrrPhysMask1
    MSR     0x204, mtrrPhysBase2
    MSR     0x205, mtrrPhysMask2
    MSR     0x206, mtrrPhysBase3
    MSR     0x207, mtrrPhysMask3
    MSR     0x208, mtrrPhysBase4
    MSR     0x209, mtrrPhysMask4

    # A list of fields of boot_params: size in bytes, offset, then the text before its value. Size 0 ends it.
    .macro FIELD offset, size, name
    .byte   \size
    .word   \offset
    .asciz  "\name="
    .endm

boot_params_fields:
    FIELD   0x1fe, 2, bootFlag
    FIELD   0x202, 4, headerMagic
    FIELD   0x210, 1, typeOfLoader
    FIELD   BP_CMD_LINE_PTR, 4, cmdLinePtr
    FIELD   BP_EXT_CMD_LINE_PTR, 4, extCmdLinePtr
    FIELD   0x238, 4, cmdlineSize
    FIELD   BP_RAMDISK_IMAGE, 4, ramdiskImage
    FIELD   BP_RAMDISK_SIZE, 4, ramdiskSize
    FIELD   0x230, 4, kernelAlignment
    FIELD   BP_EXT_RAMDISK_IMAGE, 4, extRamdiskImage
    FIELD   BP_EXT_RAMDISK_SIZE, 4, extRamdiskSize
    FIELD   0x070, 8, acpiRsdpAddr
    FIELD   0x1ef, 1, sentinel
    FIELD   BP_E820_ENTRIES, 1, e820Entries
    .byte   0

# Limit 0 and base 0: no exception can be delivered through this IDT.
no_idt:
    .word   0
    .quad   0

    .section .text

# ---------------------------------------------------------------------------------------------------------------
# Entry. Every register is saved before anything changes it; MOV, LEA and PUSHF leave the flags alone (SDM 1,
# appendix A), and the stack is switched before the first push, since RSP may point anywhere.

    .globl  _start
_start:
    mov     [rip + entry_state + 1 * 8], rsi
    mov     [rip + entry_state + 2 * 8], rsp
    mov     [rip + entry_state + 4 * 8], rax
    mov     [rip + entry_state + 5 * 8], rbx
    mov     [rip + entry_state + 6 * 8], rcx
    mov     [rip + entry_state + 7 * 8], rdx
    mov     [rip + entry_state + 8 * 8], rdi
    mov     [rip + entry_state + 9 * 8], rbp
    mov     [rip + entry_state + 10 * 8], r8
    mov     [rip + entry_state + 11 * 8], r9
    mov     [rip + entry_state + 12 * 8], r10
    mov     [rip + entry_state + 13 * 8], r11
    mov     [rip + entry_state + 14 * 8], r12
    mov     [rip + entry_state + 15 * 8], r13
    mov     [rip + entry_state + 16 * 8], r14
    mov     [rip + entry_state + 17 * 8], r15
    lea     rsp, [rip + stack_end]
    pushfq
    pop     qword ptr [rip + entry_state + 3 * 8]
    lea     rax, [rip + _start]
    mov     [rip + entry_state + 0 * 8], rax
    cld
    mov     r15, rsi                        # boot_params, from here to the end

    call    uart_initialize
    call    crc32_initialize
    SAY     "directboot-guest: x86_64 report begins\n"
    call    report_control_registers
    call    report_mtrrs
    call    report_segments
    call    report_entry_state
    call    report_boot_params
    call    report_command_line
    call    report_initrd
    call    report_image
    call    report_acpi_pages
    call    report_page_tables
    SAY     "directboot-guest: report ends\n"
    SAY     "reboot: Restarting system\n"      # Linux's words: this reset is meant (kernel/reboot.c, kernel_restart)
    call    uart_drain

# An exception that can't be delivered becomes a double fault, and that a triple fault: the processor shuts down
# (SDM 3A, section 6.15, interrupt 8) and the machine resets. It needs no device, so it works on every machine.
    cli
    lidt    [rip + no_idt]
    ud2
1:  hlt
    jmp     1b

# ---------------------------------------------------------------------------------------------------------------
# The report's parts

report_control_registers:
    mov     rax, cr0
    REPORT  cr0
    mov     rax, cr3
    REPORT  cr3
    mov     rax, cr4
    REPORT  cr4
    mov     ecx, IA32_EFER                  # exists wherever long mode does
    call    read_msr
    REPORT  efer
    mov     eax, 1
    cpuid
    test    edx, CPUID_EDX_PAT
    jz      1f
    mov     ecx, IA32_PAT
    call    read_msr
    REPORT  pat
    ret
1:  SAY     "pat=none\n"
    ret

# RDMSR of a register that the processor lacks raises #GP, and there is no IDT: so only what CPUID and MTRRCAP
# promise is read (SDM 3A, section 12.11.1).
report_mtrrs:
    push    rbx
    mov     eax, 1
    cpuid
    test    edx, CPUID_EDX_MTRR
    jz      2f
    mov     ecx, IA32_MTRRCAP
    call    read_msr
    mov     rbx, rax
    REPORT  mtrrCap
    mov     ecx, IA32_MTRR_DEF_TYPE
    call    read_msr
    REPORT  mtrrDefType
    test    ebx, MTRRCAP_FIX
    jz      1f
    lea     rsi, [rip + fixed_mtrrs]
    mov     eax, FIXED_MTRRS
    call    report_msrs
1:  movzx   eax, bl                         # VCNT: how many variable pairs there are
    mov     ecx, MTRR_PAIRS_MAX
    cmp     eax, ecx
    cmova   eax, ecx
    add     eax, eax
    lea     rsi, [rip + variable_mtrrs]
    call    report_msrs
    pop     rbx
    ret
2:  SAY     "mtrr=none\n"
    pop     rbx
    ret

# EAX MSRs of the list at RSI.
report_msrs:
    push    rbx
    mov     ebx, eax
    test    ebx, ebx
    jz      2f
1:  mov     ecx, [rsi]
    add     rsi, 4
    call    put_text                        # leaves RSI behind the text, at the next MSR
    call    read_msr
    call    put_hex_line
    dec     ebx
    jnz     1b
2:  pop     rbx
    ret

report_segments:
    sgdt    [rip + table_register]
    mov     rax, [rip + table_register + 2]
    REPORT  gdtrBase
    movzx   eax, word ptr [rip + table_register]
    REPORT  gdtrLimit
    mov     eax, cs
    REPORT  cs
    mov     eax, ds
    REPORT  ds
    mov     eax, es
    REPORT  es
    mov     eax, fs
    REPORT  fs
    mov     eax, gs
    REPORT  gs
    mov     eax, ss
    REPORT  ss
    str     eax
    REPORT  tr
    mov     eax, cs
    call    descriptor_of
    REPORT  csDescriptor
    mov     eax, cs
    call    access_of
    REPORT  csAccess
    mov     eax, cs
    call    limit_of
    REPORT  csLimit
    mov     eax, ds
    call    descriptor_of
    REPORT  dsDescriptor
    mov     eax, ds
    call    access_of
    REPORT  dsAccess
    mov     eax, ds
    call    limit_of
    REPORT  dsLimit
    sidt    [rip + table_register]
    mov     rax, [rip + table_register + 2]
    REPORT  idtrBase
    movzx   eax, word ptr [rip + table_register]
    REPORT  idtrLimit
    ret

# RAX = the 8 bytes of the descriptor that selector EAX names in the GDT (table_register), 0 past its limit.
descriptor_of:
    and     eax, ~7                         # less RPL and table indicator
    mov     ecx, eax
    lea     edx, [rax + 7]
    xor     eax, eax
    cmp     dx, [rip + table_register]
    ja      1f
    add     rcx, [rip + table_register + 2]
    mov     rax, [rcx]
1:  ret

# EAX = the access rights of selector EAX as LAR gives them (descriptor bits 8-15 and 20-23 in place; bits 16-19
# are undefined: SDM 2A, LAR), 0 if LAR refuses the selector.
access_of:
    lar     eax, eax
    jz      1f
    xor     eax, eax
1:  and     eax, 0x00f0ff00
    ret

# EAX = the limit of selector EAX in bytes as LSL gives it, 0 if LSL refuses the selector.
limit_of:
    lsl     eax, eax
    jz      1f
    xor     eax, eax
1:  ret

report_entry_state:
    push    rbx
    push    rbp
    lea     rbp, [rip + entry_state]
    xor     ebx, ebx
    lea     rsi, [rip + entry_names]
1:  call    put_text                        # leaves RSI at the next name
    mov     rax, [rbp + rbx * 8]
    call    put_hex_line
    inc     ebx
    cmp     ebx, ENTRY_REGISTERS
    jb      1b
    pop     rbp
    pop     rbx
    ret

report_boot_params:
    push    rbx
    push    rbp
    push    r12
    lea     rsi, [rip + boot_params_fields]
1:  movzx   ecx, byte ptr [rsi]             # size: 8 bytes are read, and cut down to it
    test    ecx, ecx
    jz      2f
    movzx   edx, word ptr [rsi + 1]
    mov     rax, [r15 + rdx]
    neg     ecx
    lea     ecx, [rcx * 8 + 64]             # bits to cut off
    shl     rax, cl
    shr     rax, cl
    add     rsi, 3
    call    put_text                        # leaves RSI at the next field
    call    put_hex_line
    jmp     1b
2:  movzx   ebp, byte ptr [r15 + BP_E820_ENTRIES]
    mov     eax, E820_ENTRIES_MAX
    cmp     ebp, eax
    cmova   ebp, eax
    xor     ebx, ebx
    lea     r12, [r15 + BP_E820_TABLE]
3:  cmp     ebx, ebp
    jae     4f
    SAY     "e820["
    mov     eax, ebx
    call    put_decimal
    SAY     "]="
    mov     rax, [r12]
    call    put_hex
    mov     al, ' '
    call    put_char
    mov     rax, [r12 + 8]
    call    put_hex
    mov     al, ' '
    call    put_char
    mov     eax, [r12 + 16]
    call    put_decimal
    call    put_newline
    add     r12, E820_ENTRY_SIZE
    inc     ebx
    jmp     3b
4:  xor     eax, eax
    mov     rsi, r15
    mov     ecx, BP_SIZE
    call    crc32
    REPORT  zeroPageCrc32
    pop     r12
    pop     rbp
    pop     rbx
    ret

report_command_line:
    push    rbx
    push    rbp
    SAY     "commandLine="
    mov     ebx, [r15 + BP_EXT_CMD_LINE_PTR]
    shl     rbx, 32
    mov     eax, [r15 + BP_CMD_LINE_PTR]
    or      rbx, rax
    jz      2f                              # no command line at all
    mov     ebp, COMMAND_LINE_MAX
1:  mov     al, [rbx]
    test    al, al
    jz      2f
    call    put_char
    inc     rbx
    dec     ebp
    jnz     1b
2:  call    put_newline
    pop     rbp
    pop     rbx
    ret

report_initrd:
    mov     ecx, [r15 + BP_EXT_RAMDISK_SIZE]
    shl     rcx, 32
    mov     eax, [r15 + BP_RAMDISK_SIZE]
    or      rcx, rax
    jz      1f
    mov     esi, [r15 + BP_EXT_RAMDISK_IMAGE]
    shl     rsi, 32
    mov     eax, [r15 + BP_RAMDISK_IMAGE]
    or      rsi, rax
    call    crc32_physical
    REPORT  initrdCrc32
    ret
1:  SAY     "initrdCrc32=none\n"
    ret

# What the loader made of the file: the bytes of both PT_LOADs, and the zeros behind them. The zeros begin in the
# very page that the second PT_LOAD's bytes end in, where a loader forgets them most easily.
report_image:
    xor     eax, eax
    lea     rsi, [rip + __image_start]
    lea     rcx, [rip + __image_end]
    sub     rcx, rsi
    call    crc32
    REPORT  kernelCrc32
    xor     eax, eax
    lea     rsi, [rip + __data_start]
    lea     rcx, [rip + __data_end]
    sub     rcx, rsi
    call    crc32
    REPORT  dataCrc32
    xor     eax, eax
    lea     rsi, [rip + __untouched_start]
    lea     rcx, [rip + __untouched_end]
1:  cmp     byte ptr [rsi], 1               # carry if it is 0
    cmc
    adc     rax, 0
    inc     rsi
    cmp     rsi, rcx
    jb      1b
    REPORT  bssNonzero
    ret

report_acpi_pages:
    xor     eax, eax
    mov     esi, RSDP_PAGE
    mov     ecx, PAGE_SIZE
    call    crc32
    REPORT  rsdpCrc32
    xor     eax, eax
    mov     esi, ACPI_TABLES_PAGE
    mov     ecx, PAGE_SIZE
    call    crc32
    REPORT  acpiTablesCrc32
    ret

report_page_tables:
    mov     byte ptr [rip + walk_identity], 1
    mov     qword ptr [rip + walk_lowest], -1
    mov     rsi, cr3
    mov     rax, PTE_ADDRESS                # CR3 also holds PWT and PCD, or a PCID
    and     rsi, rax
    mov     ecx, 39
    xor     edi, edi
    call    walk_table
    mov     rax, [rip + walk_tables]
    REPORT_COUNT pageTables.tables
    mov     eax, [rip + walk_crc32]
    REPORT  pageTables.crc32
    mov     rax, [rip + walk_mapped]
    REPORT  pageTables.mapped
    mov     rax, [rip + walk_leaves + 0 * 8]
    REPORT_COUNT pageTables.leaf4k
    mov     rax, [rip + walk_leaves + 1 * 8]
    REPORT_COUNT pageTables.leaf2m
    mov     rax, [rip + walk_leaves + 2 * 8]
    REPORT_COUNT pageTables.leaf1g
    movzx   eax, byte ptr [rip + walk_identity]
    REPORT_COUNT pageTables.identity
    mov     rax, [rip + walk_lowest]
    REPORT  pageTables.lowest
    mov     rax, [rip + walk_highest]
    REPORT  pageTables.highest
    ret

# Visits the page table at physical address RSI and, depth first, those below it; each of its entries maps 2^ECX
# bytes, the first of them at virtual address RDI. Four levels (SDM 3A, section 4.5): 2^39, 2^30, 2^21, 2^12.
# The CRC runs over the raw tables: nothing changes while the guest runs if the plan set the accessed and dirty
# flags, which the processor would otherwise set itself (SDM 3A, section 4.8).
walk_table:
    push    rbx
    push    rbp
    push    r12
    push    r13
    mov     rbx, rsi
    mov     ebp, ecx
    mov     r12, rdi
    inc     qword ptr [rip + walk_tables]
    mov     eax, [rip + walk_crc32]
    mov     ecx, PAGE_SIZE
    call    crc32
    mov     [rip + walk_crc32], eax
    xor     r13d, r13d
1:  mov     rdx, [rbx + r13 * 8]
    test    dl, PTE_PRESENT
    jz      5f
    mov     r8, PTE_ADDRESS
    and     r8, rdx
    cmp     ebp, 12
    je      2f
    cmp     ebp, 39                         # no leaves in a PML4
    je      4f
    test    dl, PTE_LARGE
    jz      4f
2:  mov     ecx, ebp                        # a leaf
    mov     eax, 1
    shl     rax, cl
    mov     rcx, rax
    neg     rcx
    and     r8, rcx                         # bit 12 of a large leaf is its PAT flag, no address bit
    cmp     r8, r12
    je      3f
    mov     byte ptr [rip + walk_identity], 0
3:  add     [rip + walk_mapped], rax
    mov     rcx, [rip + walk_lowest]
    cmp     r12, rcx
    cmovb   rcx, r12
    mov     [rip + walk_lowest], rcx
    add     rax, r12
    mov     rcx, [rip + walk_highest]
    cmp     rax, rcx
    cmova   rcx, rax
    mov     [rip + walk_highest], rcx
    lea     eax, [rbp - 12]                 # 12, 21, 30 → counter 0, 1, 2
    mov     cl, 9
    div     cl
    movzx   eax, al
    lea     rcx, [rip + walk_leaves]
    inc     qword ptr [rcx + rax * 8]
    jmp     5f
4:  mov     rsi, r8                         # a link
    lea     ecx, [rbp - 9]
    mov     rdi, r12
    call    walk_table
5:  mov     ecx, ebp
    mov     eax, 1
    shl     rax, cl
    add     r12, rax
    inc     r13d
    cmp     r13d, 512
    jb      1b
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret

# ---------------------------------------------------------------------------------------------------------------
# CRC32: IEEE 802.3, reflected, as zlib's. By table, as 10 MiB bit by bit would take an emulator seconds.

crc32_initialize:
    lea     rdi, [rip + crc32_table]
    xor     ecx, ecx
1:  mov     eax, ecx
    mov     edx, 8
2:  shr     eax, 1
    jnc     3f
    xor     eax, 0xedb88320
3:  dec     edx
    jnz     2b
    mov     [rdi + rcx * 4], eax
    inc     ecx
    cmp     ecx, 256
    jb      1b
    ret

# EAX = the CRC32 of RCX bytes at RSI, going on from the CRC32 in EAX (0 to begin), as zlib's crc32().
crc32:
    lea     rdi, [rip + crc32_table]
    not     eax
    test    rcx, rcx
    jz      2f
1:  movzx   edx, byte ptr [rsi]
    xor     dl, al
    shr     eax, 8
    xor     eax, [rdi + rdx * 4]
    inc     rsi
    dec     rcx
    jnz     1b
2:  not     eax
    ret

# EAX = the CRC32 of RCX bytes at physical address RSI. The plan's identity map ends at 4 GiB, yet ext_ramdisk_image
# may name an initrd past it. Such memory is read through a window of 1 GiB in page tables of our own: a copy of
# the plan's PML4, so that this code stays mapped, with one slot of it leading to a table of 2 MiB pages.
crc32_physical:
    xor     eax, eax
    mov     rdx, rsi
    add     rdx, rcx
    mov     rdi, FOUR_GIB
    cmp     rdx, rdi
    jbe     crc32
    push    rbx
    push    rbp
    push    r12
    push    r13
    mov     rbx, rsi                        # where to go on
    mov     r12, rcx                        # bytes left
    xor     ebp, ebp                        # the CRC so far
    mov     r13, cr3                        # the plan's, to go back to
    mov     rsi, PTE_ADDRESS
    and     rsi, r13
    lea     rdi, [rip + window_pml4]
    mov     ecx, 512
    rep movsq
    lea     rax, [rip + window_pdpt + PTE_LINK]
    mov     [rip + window_pml4 + WINDOW_SLOT * 8], rax
    lea     rax, [rip + window_pd + PTE_LINK]
    mov     [rip + window_pdpt], rax
1:  mov     rax, rbx
    and     rax, -LARGE_PAGE_SIZE
    or      rax, PTE_LARGE_LEAF
    lea     rdi, [rip + window_pd]
    mov     ecx, 512
2:  stosq
    add     rax, LARGE_PAGE_SIZE
    dec     ecx
    jnz     2b
    lea     rax, [rip + window_pml4]
    mov     cr3, rax                        # also forgets what the window showed before
    mov     rsi, rbx
    and     esi, LARGE_PAGE_SIZE - 1
    mov     ecx, WINDOW_SIZE
    sub     rcx, rsi                        # what the window shows from here on
    cmp     rcx, r12
    cmova   rcx, r12
    add     rbx, rcx
    sub     r12, rcx
    mov     rax, WINDOW_BASE
    add     rsi, rax
    mov     eax, ebp
    call    crc32
    mov     ebp, eax
    test    r12, r12
    jnz     1b
    mov     cr3, r13
    mov     eax, ebp
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret

# ---------------------------------------------------------------------------------------------------------------
# Output. Each of these leaves every register as it was, except RAX in read_msr and RSI in put_text.

# RAX = MSR number ECX.
read_msr:
    push    rdx
    rdmsr
    shl     rdx, 32
    or      rax, rdx
    pop     rdx
    ret

# The text at RSI up to its NUL; RSI then points behind the NUL.
put_text:
    push    rax
1:  lodsb
    test    al, al
    jz      2f
    call    put_char
    jmp     1b
2:  pop     rax
    ret

put_hex_line:
    call    put_hex
put_newline:
    push    rax
    mov     al, '\n'
    call    put_char
    pop     rax
    ret

put_hex:
    push    rax
    push    rcx
    push    rdx
    mov     rdx, rax
    mov     al, '0'
    call    put_char
    mov     al, 'x'
    call    put_char
    mov     rcx, rdx
    or      rcx, 1                          # BSR of 0 is undefined, and 0 has a digit, too
    bsr     rcx, rcx
    and     ecx, ~3                         # where the highest digit begins that isn't 0
1:  mov     rax, rdx
    shr     rax, cl
    and     eax, 15
    cmp     al, 10
    jb      2f
    add     al, 'a' - '0' - 10
2:  add     al, '0'
    call    put_char
    sub     ecx, 4
    jns     1b
    pop     rdx
    pop     rcx
    pop     rax
    ret

put_decimal:
    push    rax
    push    rcx
    push    rdx
    mov     ecx, 10
    push    0                               # below the digits, which come out last first
1:  xor     edx, edx
    div     rcx
    add     edx, '0'
    push    rdx
    test    rax, rax
    jnz     1b
2:  pop     rax
    test    eax, eax
    jz      3f
    call    put_char
    jmp     2b
3:  pop     rdx
    pop     rcx
    pop     rax
    ret

# No firmware has set the UART up: 115200 baud, 8 data bits, no parity, 1 stop bit, FIFOs on and empty, and no
# interrupts. Emulators ignore most of it.
uart_initialize:
    push    rax
    push    rdx
    xor     eax, eax
    mov     edx, UART_IER
    out     dx, al
    mov     al, 0x80                        # DLAB: the next two go to the divisor
    mov     edx, UART_LCR
    out     dx, al
    mov     al, 1
    mov     edx, UART_THR
    out     dx, al
    xor     eax, eax
    mov     edx, UART_IER
    out     dx, al
    mov     al, 0x03
    mov     edx, UART_LCR
    out     dx, al
    mov     al, 0x07
    mov     edx, UART_FCR
    out     dx, al
    pop     rdx
    pop     rax
    ret

# Character AL. A UART that doesn't become ready once is never waited for again, so that a machine without a
# working one still reaches the end.
put_char:
    push    rax
    mov     ah, LSR_THR_EMPTY
    call    uart_wait
    jz      1f
    push    rdx
    mov     edx, UART_THR
    out     dx, al
    pop     rdx
1:  pop     rax
    ret

uart_drain:
    push    rax
    mov     ah, LSR_IDLE
    call    uart_wait
    pop     rax
    ret

# Waits for the bit of AH in the line status. ZF is set if it didn't come.
uart_wait:
    push    rcx
    push    rdx
    push    rax
    cmp     byte ptr [rip + uart_dead], 1
    je      2f
    mov     edx, UART_LSR
    mov     ecx, UART_POLLS
1:  in      al, dx
    test    al, ah
    jnz     2f
    dec     ecx
    jnz     1b
    mov     byte ptr [rip + uart_dead], 1
2:  pop     rax
    pop     rdx
    pop     rcx
    cmp     byte ptr [rip + uart_dead], 1
    ret

# ---------------------------------------------------------------------------------------------------------------
# Memory. The first two sections are there to be looked at only; see report_image. An odd number of bytes in the
# file makes the zeros begin at an odd address.

    .section .data
    .ascii  "directboot-guest: the bss begins behind this full stop."

    .section .untouched, "aw", @nobits
    .skip   0x12345                         # more than the 64 KiB of a chunk of ChunkBuf

    .section .bss
    .balign 4096
window_pml4:
    .skip   4096
window_pdpt:
    .skip   4096
window_pd:
    .skip   4096
stack:
    .skip   8192
stack_end:
crc32_table:
    .skip   256 * 4
entry_state:
    .skip   ENTRY_REGISTERS * 8
walk_tables:
    .skip   8
walk_mapped:
    .skip   8
walk_lowest:
    .skip   8
walk_highest:
    .skip   8
walk_leaves:
    .skip   3 * 8                           # of 4 KiB, 2 MiB, 1 GiB
walk_crc32:
    .skip   4
walk_identity:
    .skip   1
uart_dead:
    .skip   1
table_register:
    .skip   10
