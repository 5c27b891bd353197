//! The `overread` binary: command line and wiring; it has no rule of its own.

mod classify;
mod cli;
mod config;
mod deid;
mod library;
mod packs;
mod page;
mod program;
mod roles;
mod supervise;
mod table;
mod wrap;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};

/// Exit code: the command could not be carried out at all.
pub const CANNOT: u8 = 1;
/// Exit code: some studies failed, the others were answered.
pub const SOME_FAILED: u8 = 3;

fn main() -> ExitCode {
    // The codec child comes first: it must not parse, read or log anything of ours.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == cli::CODEC_WORKER) {
        return overread_dicom::read::codec_worker_main();
    }
    let cli = Cli::parse();
    let filter =
        EnvFilter::try_from_env("OVERREAD_LOG").unwrap_or_else(|_| EnvFilter::new(cli.command.default_log()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let outcome = match cli.command {
        Command::Classify(args) => classify::run(&cli.shared, &args),
        Command::All(args) => supervise::all(&cli.shared, &args),
        Command::Edge(args) => {
            supervise::die_with_parent();
            roles::edge(&args)
        }
        Command::Service(args) => {
            supervise::die_with_parent();
            roles::service(&cli.shared, &args)
        }
        Command::Program(command) => program::run(&command),
        Command::Pack(command) => packs::run(&cli.shared, &command),
        Command::Deid(args) => deid::run(&args),
        Command::Wrap(args) => wrap::run(&args),
        Command::Schema => {
            table::print_json(&overread_read::result::json_schema()).map(|()| ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        table::complain(&error);
        ExitCode::from(CANNOT)
    })
}
