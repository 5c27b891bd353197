//! `overread pack import --out`: a MONAI bundle, or a bare ONNX file, becomes a pack of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use overread_infer::import::{self, Draft};
use overread_infer::onnx;
use serde_json::Value;

use crate::cli::Shared;
use crate::{packs, table};

const METADATA: &str = "configs/metadata.json";
const INFERENCE: &str = "configs/inference.json";
const CARD: &str = "docs/README.md";
/// Most bytes of a document that comes along.
const DOCUMENT: u64 = 16 << 20;

/// What somebody else's model consists of.
struct Foreign {
    /// The graph's file.
    graph: PathBuf,
    /// The bundle's folder; none for a bare file.
    bundle: Option<PathBuf>,
}

/// Makes a pack of a model in a new folder, and tries it.
pub fn run(shared: &Shared, source: &Path, manifest: Option<&Path>, out: &Path) -> Result<()> {
    if out.exists() {
        bail!("{} exists; name a folder that does not, so that no pack is overwritten", out.display());
    }
    let stated = manifest.map(json).transpose()?.unwrap_or_default();
    let foreign = find(source, &stated)?;
    let mut files = foreign.files()?;
    let of_bundle = |name: &str| match &foreign.bundle {
        Some(folder) if folder.join(name).is_file() => json(&folder.join(name)),
        _ => Ok(Value::Null),
    };
    let (metadata, inference) = (of_bundle(METADATA)?, of_bundle(INFERENCE)?);
    let name = format!("models/{}", file_name(&foreign.graph)?);
    let interface = onnx::interface(&files[&name]).map_err(|why| refused(&foreign.graph, &why))?;
    let sources = import::Source {
        graph: &name,
        interface: &interface,
        stated: &stated,
        metadata: &metadata,
        inference: &inference,
    };
    let draft =
        import::draft(&sources).with_context(|| format!("no pack can be made of {}", source.display()))?;
    files.insert(METADATA.into(), (serde_json::to_string_pretty(&draft.metadata)? + "\n").into_bytes());
    files.entry(CARD.into()).or_insert_with(|| card(&draft).into_bytes());
    place(shared, &files, out)?;
    tell(&draft, out)
}

/// The model in a folder or file.
fn find(source: &Path, stated: &Value) -> Result<Foreign> {
    if source.is_file() {
        return Ok(Foreign { graph: source.to_owned(), bundle: None });
    }
    let models = source.join("models");
    if !models.is_dir() {
        bail!("{} is neither an ONNX file nor a bundle with a folder models", source.display());
    }
    if let Some(graph) = stated["model"]["graph"].as_str() {
        return Ok(Foreign {
            graph: models.join(Path::new(graph).file_name().unwrap_or_default()),
            bundle: Some(source.into()),
        });
    }
    let mut graphs: Vec<PathBuf> = std::fs::read_dir(&models)
        .with_context(|| format!("reading {}", models.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    match (graphs.pop(), graphs.pop()) {
        (Some(graph), None) => Ok(Foreign { graph, bundle: Some(source.to_owned()) }),
        (Some(_), Some(_)) => {
            bail!("{} holds several ONNX files; name one as model.graph in the manifest", models.display())
        }
        (None, _) => bail!(
            "{} holds no ONNX file; a pack runs nothing else (a TorchScript or pickle file may bring code). Export the model, with MONAI by \
             `python -m monai.bundle onnx_export`",
            models.display()
        ),
    }
}

impl Foreign {
    /// What comes along, by its name in the pack: the graph, its external tensors, documents, licence and configurations.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        let graph = read(&self.graph)?;
        for location in onnx::inspect(&graph).map_err(|why| refused(&self.graph, &why))? {
            let inside = onnx::inside("", &location).map_err(|why| refused(&self.graph, &why))?;
            let path = self.graph.parent().unwrap_or(Path::new("")).join(&inside);
            files.insert(format!("models/{inside}"), read(&path)?);
        }
        files.insert(format!("models/{}", file_name(&self.graph)?), graph);
        for (folder, name) in self.bundle.iter().flat_map(|b| [(b, ""), (b, "configs"), (b, "docs")]) {
            documents(&folder.join(name), name, &mut files)?;
        }
        Ok(files)
    }
}

/// Plain documents of one folder; of a bundle's own folder the licence alone.
fn documents(folder: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let plain =
            entry.file_type()?.is_file() && entry.metadata()?.len() <= DOCUMENT && !file.starts_with('.');
        if !plain || (name.is_empty() && !file.starts_with("LICENSE")) {
            continue;
        }
        let place = if name.is_empty() { file } else { format!("{name}/{file}") };
        files.insert(place, read(&entry.path())?);
    }
    Ok(())
}

/// Writes a pack beside its place, runs it, and puts it there: it is there whole and running, or not at all.
fn place(shared: &Shared, files: &BTreeMap<String, Vec<u8>>, out: &Path) -> Result<()> {
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let partial = parent.join(format!(".{}.partial", file_name(out)?));
    if partial.exists() {
        std::fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    let written = write(files, &partial).and_then(|()| packs::check(shared, &partial).map(drop));
    if let Err(why) = written {
        let _ = std::fs::remove_dir_all(&partial);
        return Err(why.context("the pack was made and does not work"));
    }
    std::fs::rename(&partial, out).with_context(|| format!("making {}", out.display()))
}

fn write(files: &BTreeMap<String, Vec<u8>>, folder: &Path) -> Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn tell(draft: &Draft, out: &Path) -> Result<()> {
    table::print("derived, not stated; check it:")?;
    for derived in &draft.derived {
        table::print(&format!("  {} = {} ({})", derived.key, derived.value, derived.from))?;
    }
    table::print(&format!(
        "{} is a pack. It is not signed: sign it with `overread pack sign`, or say --allow-untrusted. Its numbers are scores and no \
         probabilities, and it cannot tell strangers.",
        out.display()
    ))
}

/// A model card for a model that came without one.
fn card(draft: &Draft) -> String {
    let ours = &draft.metadata["overread"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "# {}\n\n{}\n\nNo model card came with this model: its data, its figures and its known failures are not told. Not for clinical use \
         without local validation.\n",
        text(&ours["title"]),
        text(&ours["intended_use"]["statement"])
    )
}

fn refused(graph: &Path, why: &str) -> anyhow::Error {
    anyhow::anyhow!("{}: {why}", graph.display())
}

fn json(path: &Path) -> Result<Value> {
    serde_json::from_slice(&read(path)?).with_context(|| format!("{} is no JSON", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
    Ok(name.to_string_lossy().into_owned())
}
