//! The `overread` binary: command line and wiring; it has no rule of its own.

mod ask;
mod children;
mod classify;
mod cli;
mod client;
mod config;
mod deid;
mod doctor;
mod import;
mod library;
mod operate;
mod packs;
mod page;
mod roles;
mod study;
mod supervise;
mod table;
mod telemetry;
mod token;
mod validate;
mod vault;
mod wrap;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// Exit code: the command could not be carried out at all.
pub const CANNOT: u8 = 1;
/// Exit code: some studies failed, the others were answered.
pub const SOME_FAILED: u8 = 3;

/// Exit code: the configuration does not work (EX_CONFIG of sysexits.h). Starting again without changing it is of no use.
pub const REFUSED: u8 = 78;

fn main() -> ExitCode {
    if let Some(ended) = children::serve() {
        return ended;
    }
    let cli = Cli::parse();
    let telemetry = match telemetry::start(cli.command.default_log(), cli.command.service_name()) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            table::complain(&error);
            return ExitCode::from(CANNOT);
        }
    };
    let outcome = match cli.command {
        Command::Classify(args) => classify::run(&cli.shared, &args),
        Command::Validate(args) => validate::run(&cli.shared, &args),
        Command::All(args) => supervise::all(&cli.shared, &args),
        Command::Edge(args) => {
            supervise::die_with_parent();
            roles::edge(&cli.shared, &args)
        }
        Command::Service(args) => {
            supervise::die_with_parent();
            roles::service(&cli.shared, &args)
        }
        Command::Doctor(args) => roles::block_on(doctor::run(&cli.shared, &args)),
        Command::Status(args) => roles::block_on(operate::status(&args)),
        Command::Study(command) => roles::block_on(study::run(&command)),
        Command::Jobs(command) => roles::block_on(operate::jobs(&command)),
        Command::Audit(command) => roles::block_on(operate::audit(&command)),
        Command::Vault(command) => roles::block_on(vault::vault(&command)),
        Command::Patient(command) => roles::block_on(vault::patient(&command)),
        Command::Token(command) => roles::block_on(token::run(&command)),
        Command::Client(command) => roles::block_on(client::run(&command)),
        Command::Enrol(args) => roles::block_on(client::enrol(&args)),
        Command::Config(args) => config::Config::read(args.config.as_deref())
            .and_then(|config| config::effective(&config))
            .and_then(|text| table::print(text.trim_end()))
            .map(|()| ExitCode::SUCCESS),
        Command::Program(command) => roles::block_on(operate::program(&command)),
        Command::Pack(command) => packs::run(&cli.shared, &command),
        Command::Deid(args) => deid::run(&cli.shared, &args),
        Command::Wrap(args) => wrap::run(&args),
        Command::Schema { of } => table::print_json(&of.schema()).map(|()| ExitCode::SUCCESS),
    };
    let status = outcome.unwrap_or_else(|error| {
        table::complain(&error);
        ExitCode::from(if is_configuration(&error) { REFUSED } else { CANNOT })
    });
    drop(telemetry);
    status
}

/// Whether an error is about the configuration.
fn is_configuration(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<config::Refused>()
            || cause.is::<overread_edge::config::ConfigError>()
            || cause.is::<overread_service::ConfigError>()
            || matches!(cause.downcast_ref(), Some(overread_http::HttpError::Config { .. }))
    })
}
