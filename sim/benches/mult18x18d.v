// Behavioural model of the ECP5's MULT18X18D for simulation: optional input, pipeline and output registers on
// CLK0, signed or unsigned operands. Cascades, other clocks and the C input are not modelled.
module MULT18X18D (
    input A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
    output P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17,
    output P18, P19, P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTA_CE = "CE0";
    parameter REG_INPUTA_RST = "RST0";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTB_CE = "CE0";
    parameter REG_INPUTB_RST = "RST0";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_PIPELINE_CE = "CE0";
    parameter REG_PIPELINE_RST = "RST0";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter REG_OUTPUT_CE = "CE0";
    parameter REG_OUTPUT_RST = "RST0";

    wire [17:0] a = {A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire [17:0] b = {B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    reg [17:0] a_register, b_register;
    reg [35:0] pipeline_register, output_register;
    wire [17:0] a_used = REG_INPUTA_CLK == "NONE" ? a : a_register;
    wire [17:0] b_used = REG_INPUTB_CLK == "NONE" ? b : b_register;
    wire signed [18:0] a_signed = {SIGNEDA & a_used[17], a_used};
    wire signed [18:0] b_signed = {SIGNEDB & b_used[17], b_used};
    wire signed [37:0] product = a_signed * b_signed;
    wire [35:0] pipelined = REG_PIPELINE_CLK == "NONE" ? product[35:0] : pipeline_register;
    wire [35:0] result = REG_OUTPUT_CLK == "NONE" ? pipelined : output_register;

    always @(posedge CLK0)
        if (RST0) begin
            a_register <= 0;
            b_register <= 0;
            pipeline_register <= 0;
            output_register <= 0;
        end else if (CE0) begin
            a_register <= a;
            b_register <= b;
            pipeline_register <= product[35:0];
            output_register <= pipelined;
        end

    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
            P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = result;
endmodule
