// Behavioural model of the ECP5's CCU2C for simulation: two LUT4 whose outputs go into a carry chain. The lowest
// four bits of a table, addressed by A and B, make the carry where the LUT4 does not propagate one.
module CCU2C (
    input CIN, A0, B0, C0, D0, A1, B1, C1, D1,
    output S0, S1, COUT
);
    parameter [15:0] INIT0 = 16'h0000;
    parameter [15:0] INIT1 = 16'h0000;
    parameter INJECT1_0 = "YES";
    parameter INJECT1_1 = "YES";

    wire propagate_0 = INIT0[{D0, C0, B0, A0}];
    wire propagate_1 = INIT1[{D1, C1, B1, A1}];
    wire generate_0 = INJECT1_0 == "YES" ? 1'b0 : INIT0[{2'b00, B0, A0}];
    wire generate_1 = INJECT1_1 == "YES" ? 1'b0 : INIT1[{2'b00, B1, A1}];
    wire carry = propagate_0 ? CIN : generate_0;

    assign S0 = propagate_0 ^ (INJECT1_0 == "YES" ? 1'b0 : CIN);
    assign S1 = propagate_1 ^ (INJECT1_1 == "YES" ? 1'b0 : carry);
    assign COUT = propagate_1 ? carry : generate_1;
endmodule
