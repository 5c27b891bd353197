//! Packs: listing, checking, importing, signing.

use std::path::PathBuf;

use clap::Subcommand;

use super::Format;

#[derive(Subcommand)]
pub enum PackCommand {
    /// List the packs that are found.
    Ls {
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show what a pack says of itself, and its model card.
    Show {
        /// Name of the pack, or its folder.
        pack: String,
    },
    /// Check a pack: files, hashes, signature, graphs, tensors; load it and run it once.
    Verify {
        /// Name of the pack, or its folder.
        pack: String,
    },
    /// Check a pack and copy it into the user's pack folder; or, with --out, make a pack of somebody else's model.
    #[command(after_help = "Examples:
  overread pack import downloads/cxr-pneumonia
  overread pack import model.onnx --manifest manifest.json --out packs/brain-mri
  overread pack import some_monai_bundle/ --manifest manifest.json --out packs/some

The manifest holds what neither graph nor bundle tells; without one the command says which keys it needs, with an example.")]
    Import {
        /// The pack's folder; or a MONAI bundle's folder, or an ONNX file.
        #[arg(value_name = "SOURCE")]
        source: PathBuf,
        /// What is to be known of the model (JSON): the keys under `overread`, see docs/packs.md.
        #[arg(long, value_name = "FILE", requires = "out")]
        manifest: Option<PathBuf>,
        /// Make a pack of the model in this new folder.
        #[arg(long, value_name = "DIR", conflicts_with = "to")]
        out: Option<PathBuf>,
        /// Where to, instead of the user's own pack folder.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Also take packs that are not signed by a key of the trust list.
        #[arg(long)]
        allow_untrusted: bool,
    },
    /// Make a signing key: writes the private half to a file, prints the public half for trust lists.
    Keygen {
        /// File for the private half; must not exist.
        file: PathBuf,
    },
    /// Sign a pack.
    Sign {
        /// The pack's folder.
        folder: PathBuf,
        /// File with the private half of the key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}
