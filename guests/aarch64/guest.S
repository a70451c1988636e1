// A kernel-shaped guest for arm64: it prints what it finds in its registers and in memory, then powers off.
//
// It is a flat Image (Documentation/arch/arm64/booting.rst, section 4) and is entered as that file demands:
// MMU off, interrupts masked, x0 = physical address of the device tree, x1-x3 = 0.
//
// With the MMU off every data access is Device-nGnRnE (Arm ARM DDI 0487, D8.2.12): an unaligned one faults
// whatever SCTLR_EL1.A says. So: words only where the alignment is certain, bytes everywhere else.
//
// Output: PL011 of QEMU's virt machine, one name=value per line, LF, numbers as 0x… without leading zeros.
// What isn't there is printed as "none"; the bootargs line is left out when /chosen has no bootargs.
//
//   x19-x22  x0-x3 as at entry               x26  bootargs: length
//   x23      image start                     x27  linux,initrd-start, or all ones
//   x25      bootargs: address, or 0         x28  linux,initrd-end, or all ones
//   x29      number of the next memory range

        .set    UART_BASE,      0x09000000      // QEMU hw/arm/virt.c, VIRT_UART
        .set    UART_DR,        0x00            // PL011 TRM (DDI 0183), 3.2
        .set    UART_FR,        0x18
        .set    UART_LCRH,      0x2c
        .set    UART_CR,        0x30
        .set    UART_FR_TXFF,   5               // bit: transmit FIFO full
        .set    FDT_MAGIC,      0xd00dfeed      // Devicetree Specification v0.4, 5.2
        .set    FDT_MAX_SIZE,   0x200000        // booting.rst, section 2: at most 2 MiB
        .set    FDT_BEGIN_NODE, 1               // Devicetree Specification v0.4, 5.4.1
        .set    FDT_END_NODE,   2
        .set    FDT_PROP,       3
        .set    FDT_NOP,        4
        .set    PSCI_SYSTEM_OFF, 0x84000008     // Arm PSCI (DEN 0022), 5.1.9
        .set    CHECKED_SIZE,   65536
        .set    STACK_SIZE,     4096

        // Prints a string that is known here.
        .macro  print text
        .section .rodata
8888:   .asciz  "\text"
        .text
        adr     x0, 8888b
        bl      put_string
        .endm

        // Prints "name=0x…\n" of a register; x0-x17 are lost, so it must not be one of these.
        .macro  report name, register
        print   "\name="
        mov     x0, \register
        bl      put_hex_line
        .endm

        // The same of a system register.
        .macro  report_system name, register
        print   "\name="
        mrs     x0, \register
        bl      put_hex_line
        .endm

// ---- the header: 64 bytes -----------------------------------------------------------------------------
        .section .head, "ax"
        .global _start
_start:
        b       entry                           // code0
        .long   0                               // code1
        .quad   0                               // text_offset
        .quad   __image_size                    // image_size: with the bss
        .quad   0xa                             // flags: little-endian, 4 KiB pages, any placement
        .quad   0, 0, 0                         // res2-res4
        .ascii  "ARM\x64"                       // magic
        .long   0                               // res5: no PE header

// ---- the report ---------------------------------------------------------------------------------------
        .text
entry:
        mov     x19, x0
        mov     x20, x1
        mov     x21, x2
        mov     x22, x3
        adr     x23, _start
        adrp    x4, stack_top
        add     x4, x4, :lo12:stack_top
        mov     sp, x4

        movz    x4, #(UART_BASE >> 16), lsl #16
        mov     w5, #0x70                       // 8 bits, no parity, FIFOs on
        str     w5, [x4, #UART_LCRH]
        mov     w5, #0x301                      // UART, transmitter and receiver on
        str     w5, [x4, #UART_CR]

        print   "directboot-guest: aarch64 report begins\n"
        report  pc, x23
        report_system sctlrEl1, sctlr_el1
        report_system tcrEl1, tcr_el1
        report_system ttbr0El1, ttbr0_el1
        report_system ttbr1El1, ttbr1_el1
        report_system vbarEl1, vbar_el1
        report_system mairEl1, mair_el1
        report_system currentEl, CurrentEL      // raw: the level is in bits 2-3
        report_system daif, daif
        report_system spsel, spsel
        report  x0, x19
        report  x1, x20
        report  x2, x21
        report  x3, x22

        // Now that VBAR_EL1 is printed: a fault from here on is printed, too, instead of hanging.
        adr     x4, vectors
        msr     vbar_el1, x4
        isb

        mov     x25, #0
        mov     x26, #0
        mov     x27, #-1
        mov     x28, #-1
        mov     x29, #0

        // The device tree: only looked at where booting.rst allows it to be.
        mov     w24, #0                         // dtbMagic
        cbz     x19, 1f
        tst     x19, #7
        b.ne    1f
        ldr     w24, [x19]
        rev     w24, w24
1:      report  dtbMagic, x24
        ldr     w4, =FDT_MAGIC
        cmp     w24, w4
        b.ne    2f
        ldr     w24, [x19, #4]
        rev     w24, w24
        report  dtbTotalSize, x24
        mov     w4, #FDT_MAX_SIZE
        cmp     w24, w4
        b.hi    3f
        print   "dtbCrc32="
        mov     x0, x19
        mov     x1, x24
        bl      crc32
        bl      put_hex_line
        b       4f
2:      print   "dtbTotalSize=none\n"
        mov     w24, #0
3:      print   "dtbCrc32=none\n"
        mov     w24, #0
4:
        print   "imageCrc32="
        adrp    x1, __file_end
        add     x1, x1, :lo12:__file_end
        sub     x1, x1, x23
        mov     x0, x23
        bl      crc32
        bl      put_hex_line

        // Bytes of the untouched bss that are not zero.
        adrp    x1, __checked_start
        add     x1, x1, :lo12:__checked_start
        adrp    x2, __checked_end
        add     x2, x2, :lo12:__checked_end
        mov     x0, #0
5:      ldrb    w3, [x1], #1
        cmp     w3, #0
        cinc    x0, x0, ne
        cmp     x1, x2
        b.lo    5b
        mov     x20, x0                         // x1 as at entry is printed already
        report  bssNonzero, x20

        cbz     w24, 9f
        adr     x0, on_chosen
        bl      walk
        cbz     x25, 6f
        print   "bootargs="
6:      cbz     x26, 7f
        ldrb    w0, [x25], #1
        sub     x26, x26, #1
        cbz     w0, 61f
        bl      put_byte
        b       6b
61:     mov     x26, #0
7:      cbz     x25, 9f
        mov     w0, #'\n'
        bl      put_byte
9:
        cmn     x27, #1                         // no, or a malformed, linux,initrd-start
        b.eq    10f
        report  initrdStart, x27
        b       11f
10:     print   "initrdStart=none\n"
11:     cmn     x28, #1
        b.eq    12f
        report  initrdEnd, x28
        b       13f
12:     print   "initrdEnd=none\n"
13:
        cbz     w24, 14f
        adr     x0, on_memory
        bl      walk
14:
        print   "initrdCrc32="
        cmn     x27, #1
        b.eq    15f
        cmn     x28, #1
        b.eq    15f
        subs    x1, x28, x27
        b.lo    15f
        mov     x0, x27
        bl      crc32
        bl      put_hex_line
        b       16f
15:     print   "none\n"
16:
        print   "directboot-guest: report ends\n"
power_off:
        ldr     w0, =PSCI_SYSTEM_OFF
        hvc     #0                              // QEMU's virt without EL2 and EL3 takes PSCI calls by hvc
17:     wfi
        b       17b

// ---- the device tree ----------------------------------------------------------------------------------
// walk(x0 = callback): calls callback(x0 = value, x1 = its length, x2 = property name, x3 = node name) for
// each property of each child of the root. Ends at the first thing that a device tree can't hold.
walk:
        stp     x30, x19, [sp, #-64]!
        stp     x20, x21, [sp, #16]
        stp     x22, x23, [sp, #32]
        str     x24, [sp, #48]
        mov     x24, x0                         // callback
        ldr     w4, [x19, #8]                   // off_dt_struct
        rev     w4, w4
        ldr     w5, [x19, #12]                  // off_dt_strings
        rev     w5, w5
        ldr     w6, [x19, #36]                  // size_dt_struct
        rev     w6, w6
        add     x21, x19, x5                    // strings
        add     x19, x19, x4                    // cursor
        add     x20, x19, x6                    // end of the structure
        mov     w22, #0                         // depth: 1 in the root, 2 in its children
        mov     x23, #0                         // name of the node at depth 2
        tst     x19, #3
        b.ne    walk_done
walk_token:
        cmp     x19, x20
        b.hs    walk_done
        ldr     w4, [x19], #4
        rev     w4, w4
        cmp     w4, #FDT_PROP
        b.eq    walk_property
        cmp     w4, #FDT_NOP
        b.eq    walk_token
        cmp     w4, #FDT_END_NODE
        b.eq    walk_end_node
        cmp     w4, #FDT_BEGIN_NODE
        b.ne    walk_done                       // FDT_END, or nonsense
        add     w22, w22, #1
        cmp     w22, #2
        csel    x23, x19, x23, eq
1:      ldrb    w4, [x19], #1                   // past the name …
        cbnz    w4, 1b
walk_align:
        add     x19, x19, #3                    // … and its padding
        and     x19, x19, #~3
        b       walk_token
walk_end_node:
        subs    w22, w22, #1
        b.ne    walk_token
        b       walk_done
walk_property:
        ldr     w1, [x19], #4
        rev     w1, w1
        ldr     w2, [x19], #4
        rev     w2, w2
        mov     x0, x19
        add     x19, x19, x1
        cmp     w22, #2
        b.ne    walk_align
        add     x2, x21, x2
        mov     x3, x23
        blr     x24
        b       walk_align
walk_done:
        ldr     x24, [sp, #48]
        ldp     x22, x23, [sp, #32]
        ldp     x20, x21, [sp, #16]
        ldp     x30, x19, [sp], #64
        ret

// Keeps what /chosen says in x25-x28.
on_chosen:
        stp     x30, x19, [sp, #-32]!
        stp     x20, x21, [sp, #16]
        mov     x19, x0
        mov     x20, x1
        mov     x21, x2
        mov     x0, x3
        adr     x1, name_chosen
        bl      is_named
        cbz     w0, 3f
        mov     x0, x21
        adr     x1, name_bootargs
        bl      is_named
        cbz     w0, 1f
        mov     x25, x19
        mov     x26, x20
        b       3f
1:      mov     x0, x21
        adr     x1, name_initrd_start
        bl      is_named
        cbz     w0, 2f
        bl      cells
        mov     x27, x0
        b       3f
2:      mov     x0, x21
        adr     x1, name_initrd_end
        bl      is_named
        cbz     w0, 3f
        bl      cells
        mov     x28, x0
3:      ldp     x20, x21, [sp, #16]
        ldp     x30, x19, [sp], #32
        ret

// x0 = the number in the x20 bytes at x19: 4 or 8 of them, else all ones.
cells:
        mov     x0, #-1
        cmp     x20, #4
        b.eq    1f
        cmp     x20, #8
        b.ne    2f
        ldr     w0, [x19]
        rev     w0, w0
        ldr     w1, [x19, #4]
        rev     w1, w1
        orr     x0, x1, x0, lsl #32
        ret
1:      ldr     w0, [x19]
        rev     w0, w0
2:      ret

// Prints the ranges of the reg of a /memory node; #address-cells and #size-cells are 2, as QEMU's virt has them.
on_memory:
        stp     x30, x19, [sp, #-32]!
        stp     x20, x21, [sp, #16]
        mov     x19, x0
        mov     x21, x1
        mov     x20, x2
        mov     x0, x3
        adr     x1, name_memory
        bl      is_named
        cbz     w0, 2f
        mov     x0, x20
        adr     x1, name_reg
        bl      is_named
        cbz     w0, 2f
        mov     x20, #8                         // for cells
1:      cmp     x21, #16
        b.lo    2f
        print   "memory["
        mov     x0, x29
        bl      put_decimal
        print   "]="
        bl      cells
        bl      put_hex
        mov     w0, #' '
        bl      put_byte
        add     x19, x19, #8
        bl      cells
        bl      put_hex_line
        add     x19, x19, #8
        sub     x21, x21, #16
        add     x29, x29, #1
        b       1b
2:      ldp     x20, x21, [sp, #16]
        ldp     x30, x19, [sp], #32
        ret

// w0 = 1 if the name at x0 is the string at x1, with or without a unit address (@…).
is_named:
1:      ldrb    w2, [x0], #1
        ldrb    w3, [x1], #1
        cbz     w3, 2f
        cmp     w2, w3
        b.eq    1b
        mov     w0, #0
        ret
2:      cmp     w2, #'@'
        ccmp    w2, #0, #4, ne
        cset    w0, eq
        ret

// ---- CRC32 --------------------------------------------------------------------------------------------
// w0 = zlib's crc32 of the x1 bytes at x0, by half bytes.
crc32:
        mov     w2, #-1
        adr     x3, crc32_table
        cbz     x1, 2f
1:      ldrb    w4, [x0], #1
        eor     w2, w2, w4
        and     w4, w2, #15
        ldr     w4, [x3, w4, uxtw #2]
        eor     w2, w4, w2, lsr #4
        and     w4, w2, #15
        ldr     w4, [x3, w4, uxtw #2]
        eor     w2, w4, w2, lsr #4
        subs    x1, x1, #1
        b.ne    1b
2:      mvn     w0, w2
        ret

// ---- printing: none of these touches x19-x29 ----------------------------------------------------------
// The byte in w0.
put_byte:
        movz    x8, #(UART_BASE >> 16), lsl #16
1:      ldr     w9, [x8, #UART_FR]
        tbnz    w9, #UART_FR_TXFF, 1b
        str     w0, [x8, #UART_DR]
        ret

// The string at x0, up to its NUL.
put_string:
        mov     x10, x30
        mov     x11, x0
1:      ldrb    w0, [x11], #1
        cbz     w0, 2f
        bl      put_byte
        b       1b
2:      ret     x10

// x0 as 0x…, without leading zeros, and a line feed.
put_hex_line:
        mov     x12, x30
        bl      put_hex
        mov     w0, #'\n'
        bl      put_byte
        ret     x12

put_hex:
        mov     x10, x30
        mov     x11, x0
        mov     w0, #'0'
        bl      put_byte
        mov     w0, #'x'
        bl      put_byte
        orr     x13, x11, #1                    // zero has one digit
        clz     x13, x13
        mov     w14, #60
        sub     w13, w14, w13
        add     w13, w13, #3
        and     w13, w13, #~3                   // shift of the first digit
1:      lsr     x0, x11, x13
        and     w0, w0, #15
        cmp     w0, #10
        add     w14, w0, #'0'
        add     w15, w0, #('a' - 10)
        csel    w0, w14, w15, lo
        bl      put_byte
        subs    w13, w13, #4
        b.ge    1b
        ret     x10

// x0 in decimal.
put_decimal:
        mov     x10, x30
        mov     w11, #10
        mov     x12, #1
1:      udiv    x13, x0, x12                    // 10^n: the highest that is not above x0
        cmp     x13, #10
        b.lo    2f
        mul     x12, x12, x11
        b       1b
2:      mov     x13, x0
3:      udiv    x14, x13, x12
        msub    x13, x14, x12, x13
        add     w0, w14, #'0'
        bl      put_byte
        udiv    x12, x12, x11
        cbnz    x12, 3b
        ret     x10

// ---- faults -------------------------------------------------------------------------------------------
fault:
        print   "\nfault=esr "
        mrs     x0, esr_el1
        bl      put_hex
        print   " elr "
        mrs     x0, elr_el1
        bl      put_hex
        print   " far "
        mrs     x0, far_el1
        bl      put_hex_line
        b       power_off

        .balign 2048                            // VBAR_EL1 holds multiples of 2 KiB (DDI 0487, D1.3.1.1)
vectors:
        .rept   16
        .balign 128
        b       fault
        .endr

        .ltorg

// ---- data ---------------------------------------------------------------------------------------------
        .section .rodata
name_chosen:            .asciz "chosen"
name_bootargs:          .asciz "bootargs"
name_initrd_start:      .asciz "linux,initrd-start"
name_initrd_end:        .asciz "linux,initrd-end"
name_memory:            .asciz "memory"
name_reg:               .asciz "reg"

        .balign 4
crc32_table:                                    // of the reflected polynomial 0xedb88320
        .long   0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac
        .long   0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c
        .long   0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c
        .long   0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c

        .section .bss.checked, "aw", %nobits
        .skip   CHECKED_SIZE

        .section .bss.stack, "aw", %nobits
        .balign 16
        .skip   STACK_SIZE
stack_top:
