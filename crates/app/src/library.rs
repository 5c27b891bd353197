//! Which packs there are, whose they are, and what the binary needs to run them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use overread_infer::manifest::Metadata;
use overread_infer::{Pack, Runtime, Standing, TrustList};

use crate::cli::Shared;

/// The public keys that come with the binary.
const BUILT_IN_TRUST: &str = include_str!("../../../models/trust.toml");

/// A pack as its manifest presents it, before anything else of it was read.
pub struct Entry {
    pub folder: PathBuf,
    pub metadata: Metadata,
}

/// Folders in which packs are looked for.
pub fn folders(shared: &Shared) -> Vec<PathBuf> {
    if !shared.packs.is_empty() {
        return shared.packs.clone();
    }
    let beside = binary_folder().map(|folder| folder.join("packs"));
    beside.into_iter().chain(user_folder()).filter(|folder| folder.is_dir()).collect()
}

/// The user's own pack folder.
pub fn user_folder() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    Some(data.or_else(home)?.join("overread/packs"))
}

/// The subfolder of a pack folder in which packs for research alone lie, apart from the others.
const RESEARCH: &str = "research";

/// Every pack with a readable manifest, by name, those for research alone too; broken ones are told and left out.
pub fn entries(shared: &Shared) -> Vec<Entry> {
    let mut entries = Vec::new();
    for folder in folders(shared) {
        let research = folder.join(RESEARCH);
        for shelf in [Some(folder), research.is_dir().then_some(research)].into_iter().flatten() {
            collect(&shelf, &mut entries);
        }
    }
    entries.sort_by(|a, b| a.metadata.overread.id.cmp(&b.metadata.overread.id));
    entries
}

fn collect(shelf: &Path, entries: &mut Vec<Entry>) {
    let Ok(children) = std::fs::read_dir(shelf) else {
        tracing::warn!(folder = %shelf.display(), "pack folder cannot be read");
        return;
    };
    for child in children.filter_map(Result::ok).map(|c| c.path()) {
        if !child.join("configs/metadata.json").is_file() {
            continue;
        }
        match entry(&child) {
            Ok(entry) => entries.push(entry),
            Err(e) => tracing::warn!("pack left out: {e:#}"),
        }
    }
}

fn entry(folder: &Path) -> Result<Entry> {
    let path = folder.join("configs/metadata.json");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let metadata = Metadata::parse(&bytes).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    Ok(Entry { folder: folder.to_owned(), metadata })
}

/// The folder of a pack that is named by its folder or by its id.
pub fn find(shared: &Shared, name: &str) -> Result<PathBuf> {
    if Path::new(name).join("configs").is_dir() {
        return Ok(name.into());
    }
    let known = entries(shared);
    if let Some(entry) = known.iter().find(|e| e.metadata.overread.id == name) {
        return Ok(entry.folder.clone());
    }
    bail!("no pack {name}; {}", names(shared, known.iter().map(|e| e.metadata.overread.id.as_str())))
}

/// What there is instead of what was asked for.
pub fn names<'a>(shared: &Shared, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    if known.is_empty() {
        let looked: Vec<String> = folders(shared).iter().map(|f| f.display().to_string()).collect();
        let looked = if looked.is_empty() { "no folder".to_owned() } else { looked.join(", ") };
        return format!("no packs were found (looked in {looked}); name a folder with --packs");
    }
    format!("there are: {}", known.join(", "))
}

/// The trust list of the command line, else the built-in one.
pub fn trust(shared: &Shared) -> Result<TrustList> {
    let (name, text) = match &shared.trust {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading the trust list {}", path.display()))?;
            (path.display().to_string(), text)
        }
        None => ("built-in".to_owned(), BUILT_IN_TRUST.to_owned()),
    };
    toml::from_str(&text).with_context(|| format!("trust list {name}"))
}

/// Opens a pack and refuses those that nobody we trust stands behind, unless told otherwise.
pub fn open(folder: &Path, trust: &TrustList, allow_untrusted: bool) -> Result<Arc<Pack>> {
    let pack = Pack::open(folder, trust)?;
    if !allow_untrusted && !matches!(pack.standing, Standing::Trusted { .. }) {
        bail!(
            "pack {} in {} is {}; put its maker's key into the trust list, or say --allow-untrusted",
            pack.manifest.id,
            folder.display(),
            standing(&pack.standing)
        );
    }
    Ok(Arc::new(pack))
}

/// A standing in words.
pub fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Trusted { owner } => format!("signed by {owner}"),
        Standing::Untrusted { key } => format!("signed by a key that is not in the trust list ({key})"),
        Standing::Unsigned => "not signed".into(),
    }
}

/// The ONNX Runtime library that the command line, or the binary's place, says.
pub fn onnxruntime(shared: &Shared) -> Result<PathBuf> {
    if let Some(library) = &shared.onnxruntime {
        return Ok(library.clone());
    }
    let folder = binary_folder().context("the binary does not know where it lies; name --onnxruntime")?;
    let candidates = Runtime::candidates(&folder);
    Ok(candidates.iter().find(|c| c.is_file()).unwrap_or(&candidates[0]).clone())
}

/// Loads ONNX Runtime.
pub fn runtime(shared: &Shared) -> Result<Runtime> {
    Ok(Runtime::load(&onnxruntime(shared)?)?)
}

fn binary_folder() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}
