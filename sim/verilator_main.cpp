// SPDX-License-Identifier: Apache-2.0
//
// Main loop of every bench: a Verilated model, cocotb through VPI, and a clock that costs nothing.
//
// cocotb's own verilator.cpp toggles the clock with two VPI callbacks per period, which costs 1.1 us of every
// cycle. Here the input `clk` of the top module is toggled by this loop (measured on a counter: 4.1 M cycles/s
// against 0.72 M). The order of the callbacks around it is the one of cocotb's loop, so that a coroutine woken by
// RisingEdge(clk) still samples the values from before the edge, as in any event-driven simulator.
//
// Arguments: +bench+half+N   half a clock period in simulation steps (ps); absent: clk is left to cocotb
//            --trace-file F  write a VCD (only in a build with --trace)

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_vpi.h"

#if VM_TRACE
#include <verilated_vcd_c.h>
static VerilatedVcdC *trace_file = nullptr;
#endif

extern "C" void vlog_startup_routines_bootstrap(void);

static vluint64_t now = 0;
double sc_time_stamp() { return static_cast<double>(now); }

// Chosen by overload: a top module without an input `clk` has nothing to toggle.
template <class Top> static auto toggle(Top *top, int) -> decltype(static_cast<void>(top->clk)) {
    top->clk = !top->clk;
}
template <class Top> static void toggle(Top *, long) {}

static bool settle() {
    const bool called = VerilatedVpi::callValueCbs();
    bool again = called;
    while (again) again = VerilatedVpi::callValueCbs();
    return called;
}

static void wrap_up() {
    VerilatedVpi::callCbs(cbEndOfSimulation);
#if VM_TRACE
    if (trace_file) trace_file->close();
#endif
}

int main(int argc, char **argv) {
    constexpr vluint64_t NEVER = ~0ULL;
    vluint64_t half = 0;
    const char *trace_name = nullptr;
    for (int i = 1; i < argc; ++i) {
        if (std::strncmp(argv[i], "+bench+half+", 12) == 0) half = std::strtoull(argv[i] + 12, nullptr, 10);
        if (std::strcmp(argv[i], "--trace-file") == 0 && i + 1 < argc) trace_name = argv[++i];
    }
    Verilated::commandArgs(argc, argv);
    std::unique_ptr<Vtop> top(new Vtop(""));
    Verilated::fatalOnVpiError(false);  // cocotb probes for names that may not exist
#if VM_TRACE
    Verilated::traceEverOn(true);
    if (trace_name) {
        trace_file = new VerilatedVcdC;
        top->trace(trace_file, 99);
        trace_file->open(trace_name);
    }
#else
    (void)trace_name;
#endif

    vlog_startup_routines_bootstrap();
    Verilated::addExitCb([](void *) { wrap_up(); }, nullptr);
    VerilatedVpi::callCbs(cbStartOfSimulation);
    settle();

    vluint64_t next_clock = half ? half : NEVER;
    while (!Verilated::gotFinish()) {
        do {
            do {
                top->eval_step();
                VerilatedVpi::clearEvalNeeded();
                VerilatedVpi::doInertialPuts();
                settle();
            } while (VerilatedVpi::evalNeeded());
            VerilatedVpi::callCbs(cbReadWriteSynch);
            VerilatedVpi::doInertialPuts();
            settle();
        } while (VerilatedVpi::evalNeeded());
        top->eval_end_step();
        VerilatedVpi::callCbs(cbReadOnlySynch);
#if VM_TRACE
        if (trace_file) trace_file->dump(now);
#endif
        const vluint64_t next_cocotb = VerilatedVpi::cbNextDeadline();
        const vluint64_t next_timing = top->eventsPending() ? top->nextTimeSlot() : NEVER;
        const vluint64_t next = std::min(std::min(next_cocotb, next_timing), next_clock);
        if (next == NEVER) break;
        now = next;
        VerilatedVpi::callCbs(cbNextSimTime);
        settle();
        VerilatedVpi::callTimedCbs();
        settle();
        if (now == next_clock) {
            toggle(top.get(), 0);
            next_clock += half;
            settle();  // edge callbacks run before the model sees the edge: they sample the old values
        }
    }
    top->final();
    wrap_up();
    return Verilated::threadContextp()->errorCount() > 0 ? 1 : 0;
}
