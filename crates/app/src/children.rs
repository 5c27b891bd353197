//! The child processes in which C runs: this binary again, under another name. Codecs in one, OpenSlide in the other.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use overread_dicom::read::{CodecHost, CodecLimits, codec_worker_main, slide_worker_main};

/// First argument of the child that runs the codecs.
const CODECS: &str = "codec-worker";
/// First argument of the child that reads slides; the library is the second.
const SLIDES: &str = "slide-worker";
/// What the library is called beside the binary.
const LIBRARIES: [&str; 2] = ["libopenslide.so", "libopenslide.so.1"];

/// Makes hosts of the children.
pub type Hosts = Arc<dyn Fn() -> CodecHost + Send + Sync>;

/// Runs as a child, if that is what this process was started for. It must not parse, read or log anything of ours.
pub fn serve() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    match args.next()?.to_str()? {
        CODECS => Some(codec_worker_main()),
        SLIDES => Some(slide_worker_main(Path::new(&args.next()?))),
        _ => None,
    }
}

/// Makes hosts whose children are this binary; slides of scanners' makers can be read where OpenSlide lies beside it.
pub fn hosts() -> Result<Hosts> {
    let binary = std::env::current_exe().context("the binary does not know where it lies")?;
    let library = openslide(&binary);
    Ok(Arc::new(move || {
        let host = CodecHost::new(binary.clone(), vec![CODECS.into()], CodecLimits::default());
        match &library {
            Some(library) => {
                let args = vec![SLIDES.into(), library.into()];
                host.with_slides(binary.clone(), args, CodecLimits::default())
            }
            None => host,
        }
    }))
}

fn openslide(binary: &Path) -> Option<PathBuf> {
    let folder = binary.parent()?;
    LIBRARIES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}
