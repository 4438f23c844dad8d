// Behavioural model of the ECP5's block memory DP16KD for simulation, in the modes that Yosys uses: one clock,
// no output register, synchronous reset of the outputs, ports of 1, 2, 4, 9 or 18 bits, or port A writing and
// port B reading 36. Rows are 18 bits; words narrower than 9 leave the ninth bit of a byte unused. What one port
// reads of what the other is writing is undefined in silicon: here those bits are inverted, so that a design
// that looks at them is wrong and not lucky.
/* verilator lint_off MULTIDRIVEN */
module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
        DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
        DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "AUTO";
    parameter [319:0] INITVAL_00 = 320'b0;
    parameter [319:0] INITVAL_01 = 320'b0;
    parameter [319:0] INITVAL_02 = 320'b0;
    parameter [319:0] INITVAL_03 = 320'b0;
    parameter [319:0] INITVAL_04 = 320'b0;
    parameter [319:0] INITVAL_05 = 320'b0;
    parameter [319:0] INITVAL_06 = 320'b0;
    parameter [319:0] INITVAL_07 = 320'b0;
    parameter [319:0] INITVAL_08 = 320'b0;
    parameter [319:0] INITVAL_09 = 320'b0;
    parameter [319:0] INITVAL_0A = 320'b0;
    parameter [319:0] INITVAL_0B = 320'b0;
    parameter [319:0] INITVAL_0C = 320'b0;
    parameter [319:0] INITVAL_0D = 320'b0;
    parameter [319:0] INITVAL_0E = 320'b0;
    parameter [319:0] INITVAL_0F = 320'b0;
    parameter [319:0] INITVAL_10 = 320'b0;
    parameter [319:0] INITVAL_11 = 320'b0;
    parameter [319:0] INITVAL_12 = 320'b0;
    parameter [319:0] INITVAL_13 = 320'b0;
    parameter [319:0] INITVAL_14 = 320'b0;
    parameter [319:0] INITVAL_15 = 320'b0;
    parameter [319:0] INITVAL_16 = 320'b0;
    parameter [319:0] INITVAL_17 = 320'b0;
    parameter [319:0] INITVAL_18 = 320'b0;
    parameter [319:0] INITVAL_19 = 320'b0;
    parameter [319:0] INITVAL_1A = 320'b0;
    parameter [319:0] INITVAL_1B = 320'b0;
    parameter [319:0] INITVAL_1C = 320'b0;
    parameter [319:0] INITVAL_1D = 320'b0;
    parameter [319:0] INITVAL_1E = 320'b0;
    parameter [319:0] INITVAL_1F = 320'b0;
    parameter [319:0] INITVAL_20 = 320'b0;
    parameter [319:0] INITVAL_21 = 320'b0;
    parameter [319:0] INITVAL_22 = 320'b0;
    parameter [319:0] INITVAL_23 = 320'b0;
    parameter [319:0] INITVAL_24 = 320'b0;
    parameter [319:0] INITVAL_25 = 320'b0;
    parameter [319:0] INITVAL_26 = 320'b0;
    parameter [319:0] INITVAL_27 = 320'b0;
    parameter [319:0] INITVAL_28 = 320'b0;
    parameter [319:0] INITVAL_29 = 320'b0;
    parameter [319:0] INITVAL_2A = 320'b0;
    parameter [319:0] INITVAL_2B = 320'b0;
    parameter [319:0] INITVAL_2C = 320'b0;
    parameter [319:0] INITVAL_2D = 320'b0;
    parameter [319:0] INITVAL_2E = 320'b0;
    parameter [319:0] INITVAL_2F = 320'b0;
    parameter [319:0] INITVAL_30 = 320'b0;
    parameter [319:0] INITVAL_31 = 320'b0;
    parameter [319:0] INITVAL_32 = 320'b0;
    parameter [319:0] INITVAL_33 = 320'b0;
    parameter [319:0] INITVAL_34 = 320'b0;
    parameter [319:0] INITVAL_35 = 320'b0;
    parameter [319:0] INITVAL_36 = 320'b0;
    parameter [319:0] INITVAL_37 = 320'b0;
    parameter [319:0] INITVAL_38 = 320'b0;
    parameter [319:0] INITVAL_39 = 320'b0;
    parameter [319:0] INITVAL_3A = 320'b0;
    parameter [319:0] INITVAL_3B = 320'b0;
    parameter [319:0] INITVAL_3C = 320'b0;
    parameter [319:0] INITVAL_3D = 320'b0;
    parameter [319:0] INITVAL_3E = 320'b0;
    parameter [319:0] INITVAL_3F = 320'b0;

    wire [13:0] address_a = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
        ADA0};
    wire [13:0] address_b = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
        ADB0};
    wire [17:0] in_a = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
        DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] in_b = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
        DIB4, DIB3, DIB2, DIB1, DIB0};
    reg [17:0] out_a, out_b;
    reg [17:0] rows [0:1023];

    task fill(input integer slice, input [319:0] values);
        integer i;
        for (i = 0; i < 16; i = i + 1) rows[slice * 16 + i] = values[i * 20 +: 18];
    endtask

    initial begin
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG" || RESETMODE != "SYNC" || CLKAMUX != "CLKA"
            || CLKBMUX != "CLKB" || CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
            $error("DP16KD: a mode that this model has not");
        fill(0, INITVAL_00);
        fill(1, INITVAL_01);
        fill(2, INITVAL_02);
        fill(3, INITVAL_03);
        fill(4, INITVAL_04);
        fill(5, INITVAL_05);
        fill(6, INITVAL_06);
        fill(7, INITVAL_07);
        fill(8, INITVAL_08);
        fill(9, INITVAL_09);
        fill(10, INITVAL_0A);
        fill(11, INITVAL_0B);
        fill(12, INITVAL_0C);
        fill(13, INITVAL_0D);
        fill(14, INITVAL_0E);
        fill(15, INITVAL_0F);
        fill(16, INITVAL_10);
        fill(17, INITVAL_11);
        fill(18, INITVAL_12);
        fill(19, INITVAL_13);
        fill(20, INITVAL_14);
        fill(21, INITVAL_15);
        fill(22, INITVAL_16);
        fill(23, INITVAL_17);
        fill(24, INITVAL_18);
        fill(25, INITVAL_19);
        fill(26, INITVAL_1A);
        fill(27, INITVAL_1B);
        fill(28, INITVAL_1C);
        fill(29, INITVAL_1D);
        fill(30, INITVAL_1E);
        fill(31, INITVAL_1F);
        fill(32, INITVAL_20);
        fill(33, INITVAL_21);
        fill(34, INITVAL_22);
        fill(35, INITVAL_23);
        fill(36, INITVAL_24);
        fill(37, INITVAL_25);
        fill(38, INITVAL_26);
        fill(39, INITVAL_27);
        fill(40, INITVAL_28);
        fill(41, INITVAL_29);
        fill(42, INITVAL_2A);
        fill(43, INITVAL_2B);
        fill(44, INITVAL_2C);
        fill(45, INITVAL_2D);
        fill(46, INITVAL_2E);
        fill(47, INITVAL_2F);
        fill(48, INITVAL_30);
        fill(49, INITVAL_31);
        fill(50, INITVAL_32);
        fill(51, INITVAL_33);
        fill(52, INITVAL_34);
        fill(53, INITVAL_35);
        fill(54, INITVAL_36);
        fill(55, INITVAL_37);
        fill(56, INITVAL_38);
        fill(57, INITVAL_39);
        fill(58, INITVAL_3A);
        fill(59, INITVAL_3B);
        fill(60, INITVAL_3C);
        fill(61, INITVAL_3D);
        fill(62, INITVAL_3E);
        fill(63, INITVAL_3F);
    end

    // The bits of its row that a port writes, and its word in a row's bits.
    function [17:0] mask(input integer width, input [13:0] address);
        case (width)
            18, 36: mask = {{9{address[1]}}, {9{address[0]}}};
            9: mask = 18'h1ff << (9 * address[3]);
            4: mask = 18'hf << (9 * address[3] + 4 * address[2]);
            2: mask = 18'h3 << (9 * address[3] + 4 * address[2] + 2 * address[1]);
            default: mask = 18'h1 << (9 * address[3] + 4 * address[2] + 2 * address[1] + address[0]);
        endcase
    endfunction

    function integer place(input integer width, input [13:0] address);
        place = width >= 18 ? 0
            : 9 * address[3]
            + (width < 9 ? 4 * address[2] : 0)
            + (width < 4 ? 2 * address[1] : 0)
            + (width < 2 ? address[0] : 0);
    endfunction

    wire double_a = DATA_WIDTH_A == 36, double_b = DATA_WIDTH_B == 36;
    wire [9:0] row_a = {address_a[13:5], address_a[4] & ~double_a};
    wire [9:0] row_b = {address_b[13:5], address_b[4] & ~double_b};
    wire writes_a = CEA & WEA, writes_b = CEB & WEB;
    wire [17:0] mask_a = writes_a ? mask(DATA_WIDTH_A, address_a) : 18'b0;
    wire [17:0] mask_high = writes_a & double_a ? {{9{address_a[3]}}, {9{address_a[2]}}} : 18'b0;
    wire [17:0] mask_b = writes_b ? mask(DATA_WIDTH_B, address_b) : 18'b0;
    wire [17:0] new_a = (rows[row_a] & ~mask_a) | ((in_a << place(DATA_WIDTH_A, address_a)) & mask_a);
    wire [17:0] new_b = (rows[row_b] & ~mask_b) | ((in_b << place(DATA_WIDTH_B, address_b)) & mask_b);

    // What the other port writes in the rows that a port reads.
    wire [17:0] hit_a = row_a == row_b ? mask_b : 18'b0;
    wire [17:0] hit_b = (row_b == row_a ? mask_a : 18'b0)
        | (double_a && row_b == (row_a | 10'b1) ? mask_high : 18'b0);
    wire [17:0] hit_b_high = ((row_b | 10'b1) == row_a ? mask_a : 18'b0)
        | (double_a && (row_b | 10'b1) == (row_a | 10'b1) ? mask_high : 18'b0);
    wire [17:0] read_a = rows[row_a] ^ hit_a;
    wire [17:0] read_b = rows[row_b] ^ hit_b;
    wire [17:0] read_b_high = rows[row_b | 10'b1] ^ hit_b_high;

    always @(posedge CLKA) begin
        if (writes_a) begin
            rows[row_a] <= new_a;
            if (double_a) rows[row_a | 10'b1] <= (rows[row_a | 10'b1] & ~mask_high) | (in_b & mask_high);
        end
        if (RSTA) out_a <= 18'b0;
        else if (CEA && !(WEA && WRITEMODE_A == "NORMAL"))
            out_a <= (WEA && WRITEMODE_A == "WRITETHROUGH" ? new_a : read_a) >> place(DATA_WIDTH_A,
                address_a);
    end

    reg [17:0] low_b;
    always @(posedge CLKB) begin
        if (writes_b) rows[row_b] <= new_b;
        if (RSTB) begin
            out_b <= 18'b0;
            low_b <= 18'b0;
        end else if (CEB && !(WEB && WRITEMODE_B == "NORMAL")) begin
            low_b <= read_b;
            out_b <= double_b ? read_b_high
                : (WEB && WRITEMODE_B == "WRITETHROUGH" ? new_b : read_b) >> place(DATA_WIDTH_B, address_b);
        end
    end

    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0} = double_b ? low_b : out_a;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0} = out_b;
endmodule
/* verilator lint_on MULTIDRIVEN */
