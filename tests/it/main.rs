//! Longhaul from the outside, in one test program.

mod conformance;
mod mcp;
mod postgres;
