// SPDX-License-Identifier: Apache-2.0
//
// AXI4 read slave with its memory inside the simulation: one beat per clock, bursts back to back.
//
// The image is the binary file named by +axi_image=FILE, byte 0 at address 0; without one the memory starts undefined.
// Bursts: INCR, full width, up to 256 beats; QUEUE of them may be outstanding and are answered in order. The first beat
// of a burst is on the bus LATENCY clocks after its address was taken, later if earlier bursts are still being sent;
// +axi_latency=N overrides LATENCY without a new build.
// +axi_bandwidth_bytes=N +axi_bandwidth_cycles=D: N bytes in D cycles at most, through a bucket that holds one beat. After
// a pause beat n (from 0) is on the bus floor(n * BYTES * D / N) clocks after beat 0. Without them: a beat per clock.
// SLVERR for every beat past SIZE_BYTES or in [error_base, error_base + error_size); with `last_fault` the window's beats
// have a wrong rlast instead: 1 high though the burst goes on, 2 low on its last beat, 3 high and the rest is never sent.
// `hang` stops all data while high.
// `stall_mode` delays both channels: 0 never, 1 at random, 2 in bursts, 3 every other clock.
// `poke_*` writes one aligned 32-bit word per clock (little-endian), for what the host puts into memory at run time.
//
// protocol_error is sticky: [0] 4 KB boundary crossed, [1] arsize not the bus width, [2] arburst not INCR,
// [3] address not aligned to the bus, [4] arvalid or the command changed while waiting. With STRICT each also ends the
// simulation through $error; +axi_strict=0 or 1 overrides STRICT.

module axi_memory #(
    parameter DATA_WIDTH = 64,
    parameter SIZE_BYTES = 1 << 20,
    parameter LATENCY = 8,
    parameter QUEUE = 8,
    parameter STRICT = 1
) (
    input clk,
    input rst,
    input m_axi__arid,
    input [31:0] m_axi__araddr,
    input [7:0] m_axi__arlen,
    input [2:0] m_axi__arsize,
    input [1:0] m_axi__arburst,
    input [2:0] m_axi__arprot,
    input [3:0] m_axi__arcache,
    input m_axi__arvalid,
    output m_axi__arready,
    output m_axi__rid,
    output [DATA_WIDTH-1:0] m_axi__rdata,
    output [1:0] m_axi__rresp,
    output m_axi__rlast,
    output m_axi__rvalid,
    input m_axi__rready,
    input [31:0] error_base,
    input [31:0] error_size,
    input [1:0] last_fault,
    input hang,
    input [1:0] stall_mode,
    input poke_valid,
    input [31:0] poke_address,
    input [31:0] poke_data,
    output reg [4:0] protocol_error,
    output reg [31:0] bursts,
    output reg [31:0] beats
);
    localparam BYTES = DATA_WIDTH / 8;
    localparam SHIFT = $clog2(BYTES);
    localparam WORDS = SIZE_BYTES / BYTES;
    localparam WORD_BITS = WORDS > 1 ? $clog2(WORDS) : 1;
    localparam QUEUE_BITS = $clog2(QUEUE);

    // A word is kept as $fread leaves it: the byte of the lowest address in the highest bits.
    reg [DATA_WIDTH-1:0] memory [0:WORDS-1];

    reg [8*1024-1:0] image;
    integer file, got, latency, strict, rate_bytes, rate_cycles;
    initial begin
        if (!$value$plusargs("axi_latency=%d", latency)) latency = LATENCY;
        if (!$value$plusargs("axi_strict=%d", strict)) strict = STRICT;
        if (!$value$plusargs("axi_bandwidth_bytes=%d", rate_bytes)) rate_bytes = BYTES;
        if (!$value$plusargs("axi_bandwidth_cycles=%d", rate_cycles)) rate_cycles = 1;
        if (rate_bytes < 1 || rate_cycles < 1)
            $fatal(1, "axi_memory: bandwidth of %0d bytes in %0d cycles", rate_bytes, rate_cycles);
        if (DATA_WIDTH < 32 || DATA_WIDTH > 1024 || DATA_WIDTH != 8 << SHIFT)
            $fatal(1, "axi_memory: DATA_WIDTH %0d is not a power of two in 32..1024", DATA_WIDTH);
        if (latency < 1) $fatal(1, "axi_memory: latency %0d is below 1", latency);
        if (QUEUE != (1 << QUEUE_BITS)) $fatal(1, "axi_memory: QUEUE %0d is not a power of two", QUEUE);
        if ($value$plusargs("axi_image=%s", image)) begin
            file = $fopen(image, "rb");
            if (file == 0) $fatal(1, "axi_memory: cannot open the image %0s", image);
            got = $fread(memory, file);
            if ($fgetc(file) != -1)
                $fatal(1, "axi_memory: the image %0s is longer than SIZE_BYTES = %0d", image, SIZE_BYTES);
            $fclose(file);
            if (got % BYTES != 0)
                $fatal(1, "axi_memory: the image's %0d bytes are no multiple of the bus's %0d", got, BYTES);
        end
    end

    // Stalls: a 32-bit xorshift, the same in every run.
    reg [31:0] random;
    reg toggle;
    wire [31:0] random_a = random ^ (random << 13);
    wire [31:0] random_b = random_a ^ (random_a >> 17);
    wire stall_data = stall_mode == 1 ? random[0] : stall_mode == 2 ? random[9:5] < burst_threshold
                    : stall_mode == 3 ? toggle : 1'b0;
    wire stall_address = stall_mode == 1 ? random[16] : stall_mode == 2 ? random[25:21] < burst_threshold
                       : stall_mode == 3 ? !toggle : 1'b0;
    reg [7:0] burst_clock;
    wire [4:0] burst_threshold = burst_clock[5] ? 5'd30 : 5'd2;

    // Address channel: ready does not wait for valid, and once raised it stays until taken.
    reg [31:0] queue_address [0:QUEUE-1];
    reg [7:0] queue_length [0:QUEUE-1];
    reg queue_id [0:QUEUE-1];
    reg [63:0] queue_due [0:QUEUE-1];
    reg [QUEUE_BITS:0] head, tail;
    wire [QUEUE_BITS:0] used = tail - head;
    wire full = used == QUEUE;
    wire empty = used == 0;
    reg address_open;
    assign m_axi__arready = address_open && !full;
    wire take_address = m_axi__arvalid && m_axi__arready;

    // Data channel
    reg [63:0] now;
    reg [7:0] beat;
    reg valid, last, id;
    reg [1:0] response;
    reg [DATA_WIDTH-1:0] word;
    wire [31:0] burst_address = queue_address[head[QUEUE_BITS-1:0]];
    wire [31:0] beat_address = burst_address + ({24'd0, beat} << SHIFT);
    wire [31:0] word_index = beat_address >> SHIFT;
    wire out_of_range = word_index >= WORDS;
    wire in_window = (beat_address - error_base) < error_size;
    wire counted_last = beat == queue_length[head[QUEUE_BITS-1:0]];
    wire beat_last = counted_last || (in_window && last_fault == 3);
    wire shown_last = in_window && last_fault != 0 ? last_fault != 2 : beat_last;
    wire due = !empty && now >= queue_due[head[QUEUE_BITS-1:0]];
    // The bucket, in 1/rate_cycles of a byte. What is left over a beat is kept, or fractions of a byte would be lost.
    reg [63:0] credit;
    wire [63:0] price = BYTES * {32'd0, rate_cycles};
    wire [63:0] most = price + {32'd0, rate_bytes} - 64'd1;
    wire send = due && !hang && !stall_data && (!valid || m_axi__rready) && credit >= price;
    wire [63:0] filled = credit - (send ? price : 64'd0) + {32'd0, rate_bytes};

    genvar b;
    generate
        for (b = 0; b < BYTES; b = b + 1) begin : swap
            assign m_axi__rdata[8*b +: 8] = word[DATA_WIDTH-1-8*b -: 8];
        end
    endgenerate
    assign m_axi__rvalid = valid;
    assign m_axi__rlast = last;
    assign m_axi__rresp = response;
    assign m_axi__rid = id;

    wire [31:0] poke_word = poke_address >> SHIFT;
    wire [31:0] poke_bit = DATA_WIDTH - 32 - 8 * ((poke_address & (BYTES - 1)) & ~32'd3);

    // Protocol
    reg was_waiting;
    reg [31:0] was_address;
    reg [19:0] was_rest;
    wire [19:0] rest = {m_axi__arlen, m_axi__arsize, m_axi__arburst, m_axi__arprot, m_axi__arcache};
    wire [31:0] last_byte = m_axi__araddr + (({24'd0, m_axi__arlen} + 32'd1) << SHIFT) - 32'd1;
    wire [4:0] wrong = {
        was_waiting && (!m_axi__arvalid || m_axi__araddr != was_address || rest != was_rest),
        take_address && (m_axi__araddr & (BYTES - 1)) != 0,
        take_address && m_axi__arburst != 2'b01,
        take_address && m_axi__arsize != SHIFT,
        take_address && m_axi__araddr[31:12] != last_byte[31:12]
    };

    initial begin
        head = 0; tail = 0; now = 0; beat = 0; valid = 0; last = 0; id = 0; response = 0;
        protocol_error = 0; bursts = 0; beats = 0; random = 32'h2545f491; toggle = 0; burst_clock = 0;
        address_open = 0; was_waiting = 0; was_address = 0; was_rest = 0; credit = 64'd1 << 62;
    end

    always @(posedge clk) begin
        now <= now + 1;
        random <= random_b ^ (random_b << 5);
        toggle <= !toggle;
        burst_clock <= burst_clock + 1;
        credit <= filled < most ? filled : most;
        // Inputs are random until the bench has spoken, which its start does before the second clock.
        if (poke_valid && now > 1) begin
            if (poke_word >= WORDS) $fatal(1, "axi_memory: poke address %h is out of range", poke_address);
            memory[poke_word[WORD_BITS-1:0]][poke_bit +: 32]
                <= {poke_data[7:0], poke_data[15:8], poke_data[23:16], poke_data[31:24]};
        end

        was_waiting <= m_axi__arvalid && !m_axi__arready;
        was_address <= m_axi__araddr;
        was_rest <= rest;
        address_open <= (address_open && !take_address) || !stall_address;
        if (take_address) begin
            queue_address[tail[QUEUE_BITS-1:0]] <= m_axi__araddr;
            queue_length[tail[QUEUE_BITS-1:0]] <= m_axi__arlen;
            queue_id[tail[QUEUE_BITS-1:0]] <= m_axi__arid;
            queue_due[tail[QUEUE_BITS-1:0]] <= now + {32'd0, latency};
            tail <= tail + 1;
            bursts <= bursts + 1;
        end
        if (wrong != 0 && !rst) begin
            protocol_error <= protocol_error | wrong;
            if (strict != 0)
                $error("axi_memory: protocol violation %b at araddr %h arlen %0d arsize %0d arburst %0d",
                       wrong, m_axi__araddr, m_axi__arlen, m_axi__arsize, m_axi__arburst);
        end

        if (valid && m_axi__rready) beats <= beats + 1;
        if (send) begin
            valid <= 1;
            word <= memory[word_index[WORD_BITS-1:0]];
            response <= out_of_range || (in_window && last_fault == 0) ? 2'b10 : 2'b00;
            last <= shown_last;
            id <= queue_id[head[QUEUE_BITS-1:0]];
            beat <= beat_last ? 0 : beat + 1;
            if (beat_last) head <= head + 1;
        end else if (m_axi__rready) begin
            valid <= 0;
        end

        if (rst) begin
            head <= 0; tail <= 0; beat <= 0; valid <= 0; address_open <= 0; was_waiting <= 0;
            protocol_error <= 0; bursts <= 0; beats <= 0;
        end
    end
endmodule
