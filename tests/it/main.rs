//! Longhaul from the outside, in one test program.

mod mcp;
