//! Longhaul from the outside, in one test program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say plainly what they expect"
)]

mod abandoned;
mod allowed;
mod architecture;
mod arguments;
mod attachments_program;
mod bad_input;
mod breakers;
mod budgets;
mod chaos;
mod chat_clients;
mod chat_program;
mod checkpoints_program;
mod checks;
mod checks_program;
mod cluster;
mod command_line;
mod conformance;
mod context;
mod contract;
mod crashes;
mod crowds;
mod defects;
mod engine;
mod faults;
mod fleet;
mod folds;
mod forks;
mod frozen;
mod hard_cases;
mod hints;
mod idle;
mod image;
mod judge;
mod large;
mod linear;
mod mcp;
mod mcp_http;
mod node_packages;
mod people;
mod people_program;
mod plans;
mod planted;
mod postgres;
mod postgres_server;
mod presets;
mod program;
mod queue_clients;
mod recordings;
mod redis;
mod redis_server;
mod relay;
mod replay;
mod replay_order;
mod retention;
mod rules;
mod schedules;
mod secrets;
mod silent_database;
mod streams;
mod subtasks;
mod subtasks_program;
mod taint;
mod templates;
mod terminal;
mod tool_changes;
mod trap;
mod waits;
mod world;
mod wrapped;
