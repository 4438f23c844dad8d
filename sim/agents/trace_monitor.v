// SPDX-License-Identifier: Apache-2.0
//
// Writes every clock of the trace port on which `trace__valid` is high to the binary file +trace_file=FILE.
//
// Without that argument nothing is written. The file is a sequence of 32-bit little-endian words: the header
// {"ELTR", 2, DATA_BITS, INDEX_BITS}, then records {tag << INDEX_BITS | index, sentence, cycle low, cycle high, data...},
// tag and index in one word, data from the low bits up and padded with zeros. `cycle` counts clocks since the simulation began. `flush` empties the
// file's buffer at this clock, so that a reader sees all records up to it. sim/agents/trace.py reads the file.

module trace_monitor #(
    parameter TAG_BITS = 8,
    parameter INDEX_BITS = 24,
    parameter DATA_BITS = 64,
    parameter FILE_ARGUMENT = "trace_file=%s"
) (
    input clk,
    input trace__valid,
    input [TAG_BITS-1:0] trace__tag,
    input [INDEX_BITS-1:0] trace__index,
    input [DATA_BITS-1:0] trace__data,
    input [31:0] sentence,
    input flush,
    output reg [63:0] cycle,
    output reg [31:0] records
);
    localparam DATA_WORDS = (DATA_BITS + 31) / 32;
    localparam [31:0] HEADER_INDEX_BITS = INDEX_BITS;
    localparam [31:0] HEADER_DATA_BITS = DATA_BITS;

    reg [8*1024-1:0] name;
    integer file;
    wire [32*DATA_WORDS-1:0] data = trace__data;
    wire [31:0] where = (32'd0 | trace__tag) << INDEX_BITS | trace__index;
    wire [32*(DATA_WORDS+4)-1:0] record = {data, cycle, sentence, where};
    wire [127:0] header = {HEADER_INDEX_BITS, HEADER_DATA_BITS, 32'd2, 32'h52544c45};

    initial begin
        cycle = 0;
        records = 0;
        file = 0;
        if (TAG_BITS + INDEX_BITS > 32)
            $fatal(1, "trace_monitor: a tag of %0d and an index of %0d bits do not fit a word", TAG_BITS, INDEX_BITS);
        if ($value$plusargs(FILE_ARGUMENT, name)) begin
            file = $fopen(name, "wb");
            if (file == 0) $fatal(1, "trace_monitor: cannot write %0s", name);
            $fwrite(file, "%u", header);
        end
    end

    always @(posedge clk) begin
        cycle <= cycle + 1;
        if (trace__valid) begin
            records <= records + 1;
            if (file != 0) $fwrite(file, "%u", record);
        end
        if (flush && file != 0) $fflush(file);
    end

    final if (file != 0) $fclose(file);
endmodule
