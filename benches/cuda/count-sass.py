#!/usr/bin/env python3
"""Counts the instructions per hash of the yardstick's loops, per pipe.

    nvcc -O3 -std=c++17 -arch=sm_90 -cubin -o yardstick.cubin yardstick.cu
    cuobjdump -sass yardstick.cubin | ./count-sass.py [SMs MHz]

Needs no card. With the number of multiprocessors and their clock it also prints the GH/s that the counts allow.
Which pipe takes an instruction is that of sm_80 to sm_90.
"""

import re
import sys
from collections import Counter

ALU = {"IADD3", "LOP3", "SHF", "LEA", "ISETP", "SEL", "PRMT", "VIADD", "IMNMX", "VIMNMX", "PLOP3", "P2R", "R2P"}
FMA = {"IMAD", "FFMA", "FMUL", "FADD"}


def pipe(opcode):
    name = opcode.split(".")[0]
    if name in ALU:
        return "ALU"
    if name in FMA:
        return "FMA"
    return "other"


def loop(lines):
    """The instructions of the longest loop: from the target of a branch backwards to the branch."""
    longest = []
    for end, (address, opcode, operands) in enumerate(lines):
        target = re.search(r"0x([0-9a-f]+)", operands) if opcode.startswith("BRA") else None
        if target and int(target.group(1), 16) < address:
            begin = next(i for i, line in enumerate(lines) if line[0] == int(target.group(1), 16))
            longest = max(longest, lines[begin : end + 1], key=len)
    return longest


def functions(text):
    for function in text.split("Function : ")[1:]:
        name = function.split("\n", 1)[0]
        heads, multiply = map(int, re.search(r"searchILi(\d)ELi(\d)E", name).groups())
        pattern = r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);"
        lines = [(int(a, 16), opcode, operands) for a, opcode, operands in re.findall(pattern, function)]
        yield (multiply, heads), loop(lines)


def main():
    counted = sorted(functions(sys.stdin.read()))
    if not counted:
        sys.exit("no kernel of the yardstick in the input; cuobjdump needs nvdisasm")
    card = [float(number) for number in sys.argv[1:3]]
    print("| products | M | ALU | FMA | other | all | cycles of an SM, at least |" + (" GH/s, at most |" if card else ""))
    print("|---|---|---|---|---|---|---|" + ("---|" if card else ""))
    for (multiply, heads), lines in counted:
        count = Counter(pipe(opcode) for _, opcode, _ in lines)
        alu, fma, other = (count[pipe] / heads for pipe in ("ALU", "FMA", "other"))
        cycles = max(alu / 64, fma / 64, (alu + fma + other) / 128)
        row = f"| {['none', 'rounds', 'all'][multiply]} | {heads} | {alu:.1f} | {fma:.1f} | {other:.1f} "
        row += f"| {alu + fma + other:.1f} | {cycles:.2f} |"
        print(row + (f" {card[0] * card[1] / cycles / 1e3:.1f} |" if card else ""))
        if "--opcodes" in sys.argv:
            print(Counter(opcode for _, opcode, _ in lines).most_common(12))


main()
