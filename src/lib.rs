//! Longhaul carries a goal that is too big for one chat answer to its end.

pub mod cli;
pub mod executor;
pub mod models;
pub mod orchestrator;
pub mod queue;
pub mod repository;
pub mod server;
pub mod task;
pub mod tools;
pub mod worker;
