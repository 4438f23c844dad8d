// SPDX-License-Identifier: Apache-2.0
//
// Writes what the machine does to the binary file +activity_file=FILE: a record whenever it changes.
//
// `counters` are the engine's, COUNTERS of them of COUNTER_BITS bits: the one that has grown is what the array did in
// the cycle before (0: none, n: the n-th), and `descriptor` is the sequencer's in that cycle. Of the bus: a burst's address taken, its
// first and its last beat taken. Of the vector path: whether a column is written, and its tag. A record is three 32-bit
// little-endian words: cycles since the simulation began, `sentence`, and {tag, column, last, first, taken, arlen,
// descriptor, counter} of 4, 1, 1, 1, 1, 8, 8, 8 bits; sim/agents/activity.py reads them.

module activity_monitor #(
    parameter COUNTERS = 7,
    parameter COUNTER_BITS = 32,
    parameter DESCRIPTOR_BITS = 4
) (
    input clk,
    input rst,
    input [31:0] sentence,
    input [COUNTERS*COUNTER_BITS-1:0] counters,
    input [DESCRIPTOR_BITS-1:0] descriptor,
    input column,
    input [3:0] tag,
    input [7:0] m_axi__arlen,
    input m_axi__arvalid,
    input m_axi__arready,
    input m_axi__rvalid,
    input m_axi__rready,
    input m_axi__rlast
);
    reg [8*1024-1:0] name;
    integer file, n;
    reg [31:0] cycle;
    reg [COUNTERS*COUNTER_BITS-1:0] counters_before;
    reg [7:0] did, did_before, doing, doing_before;
    reg opening;
    reg [4:0] writing;
    always @(*) begin
        did = 0;
        for (n = 0; n < COUNTERS; n = n + 1)
            if (counters[n*COUNTER_BITS +: COUNTER_BITS] > counters_before[n*COUNTER_BITS +: COUNTER_BITS]) did = n + 1;
    end

    wire taken = m_axi__arvalid && m_axi__arready;
    wire beat = m_axi__rvalid && m_axi__rready;
    wire first = beat && opening;
    wire last = beat && m_axi__rlast;
    wire changed = did != did_before || doing != doing_before || taken || first || last
        || (column ? writing != {tag, 1'b1} : writing[0]);
    wire [95:0] record = {tag, column, last, first, taken, m_axi__arlen, doing, did, sentence, cycle};

    initial begin
        cycle = 0; opening = 1; writing = 0; did_before = 0; doing = 0; doing_before = 0; counters_before = 0; file = 0;
        if ($value$plusargs("activity_file=%s", name)) begin
            file = $fopen(name, "wb");
            if (file == 0) $fatal(1, "activity_monitor: cannot write %0s", name);
        end
    end

    always @(posedge clk) begin
        cycle <= cycle + 1;
        counters_before <= counters;
        did_before <= did;
        doing <= {{(8-DESCRIPTOR_BITS){1'b0}}, descriptor};
        doing_before <= doing;
        writing <= {tag, column};
        if (beat) opening <= m_axi__rlast;
        if (rst) opening <= 1;
        if (changed && !rst && file != 0) $fwrite(file, "%u", record);
    end

    final if (file != 0) $fclose(file);
endmodule
