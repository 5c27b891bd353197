//! `overread pack …`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use overread_infer::pack::edition_of_folder;
use overread_infer::trust::{SIGNATURE_FILE, Signature, new_key, signing_key};
use overread_infer::{Engine, Pack, Tensor};

use crate::cli::{Format, PackCommand, Shared};
use crate::{library, table};

pub fn run(shared: &Shared, command: &PackCommand) -> Result<ExitCode> {
    match command {
        PackCommand::Ls { format } => list(shared, *format)?,
        PackCommand::Show { pack } => show(shared, pack)?,
        PackCommand::Verify { pack } => verify(shared, pack)?,
        PackCommand::Import { source, manifest, out: Some(out), .. } => {
            crate::import::run(shared, source, manifest.as_deref(), out)?;
        }
        PackCommand::Import { source, to, allow_untrusted, .. } => {
            import(shared, source, to.as_deref(), *allow_untrusted)?;
        }
        PackCommand::Keygen { file } => keygen(file)?,
        PackCommand::Sign { folder, key } => sign(folder, key)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(shared: &Shared, format: Format) -> Result<()> {
    let trust = library::trust(shared)?;
    let mut rows = Vec::new();
    for entry in library::entries(shared) {
        let pack = Pack::open(&entry.folder, &trust)?;
        rows.push(serde_json::json!({
            "id": pack.manifest.id, "version": pack.version, "edition": pack.edition,
            "program": pack.manifest.program, "title": pack.manifest.title,
            "findings": pack.manifest.findings.iter().map(|f| f.label.clone()).collect::<Vec<_>>(),
            "research_only": pack.manifest.terms.research_only, "licence": pack.manifest.terms.licence,
            "standing": library::standing(&pack.standing), "folder": entry.folder,
        }));
    }
    match format {
        Format::Json => table::print_json(&serde_json::Value::Array(rows)),
        Format::Jsonl => rows.iter().try_for_each(table::print_line),
        Format::Text if rows.is_empty() => table::print(&library::names(shared, std::iter::empty())),
        Format::Text => {
            let mut out = Table::new();
            out.load_preset(presets::UTF8_HORIZONTAL_ONLY)
                .set_content_arrangement(ContentArrangement::Dynamic);
            out.set_header(["pack", "version", "edition", "findings", "terms", "standing"]);
            for row in &rows {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                let findings: Vec<&str> =
                    row["findings"].as_array().into_iter().flatten().filter_map(|f| f.as_str()).collect();
                let edition = text("edition").chars().take(12).collect();
                let terms = if row["research_only"] == true {
                    "research only"
                } else {
                    row["licence"].as_str().unwrap_or_default()
                };
                out.add_row([
                    text("id"),
                    text("version"),
                    edition,
                    findings.join(", "),
                    terms.to_owned(),
                    text("standing"),
                ]);
            }
            table::print(&out.to_string())
        }
    }
}

fn show(shared: &Shared, name: &str) -> Result<()> {
    let folder = library::find(shared, name)?;
    let pack = Pack::open(&folder, &library::trust(shared)?)?;
    let m = &pack.manifest;
    table::print(&format!("{} {} — {}", m.id, pack.version, m.title))?;
    table::print(&format!("edition   {}", pack.edition))?;
    table::print(&format!("standing  {}", library::standing(&pack.standing)))?;
    table::print(&format!("licence   {}", m.terms.licence))?;
    m.caveats().iter().try_for_each(|caveat| table::print(&format!("caveat    {caveat}")))?;
    table::print(&format!("use       {}", m.intended_use.statement))?;
    for f in &m.findings {
        let at = |t: Option<overread_infer::manifest::Threshold>| {
            t.map_or("none".to_owned(), |t| format!("{:.3}", t.probability.get()))
        };
        let calibration = f.calibration.map_or("not calibrated: scores only".to_owned(), |c| {
            format!(
                "calibrated on {} patients, {} positive, prevalence {:.2}",
                c.patients,
                c.positives,
                c.reference_prevalence.get()
            )
        });
        table::print(&format!(
            "finding   {} ({} {}): absent at or below {}, present at or above {}; {calibration}",
            f.label,
            f.code.scheme,
            f.code.value,
            at(f.rule_out),
            at(f.rule_in)
        ))?;
    }
    let card = pack.file("docs/README.md")?;
    table::print("")?;
    table::print(&String::from_utf8_lossy(&card))
}

fn verify(shared: &Shared, name: &str) -> Result<()> {
    let folder = library::find(shared, name)?;
    let pack = check(shared, &folder)?;
    table::print(&format!("files      {}", pack.files().count()))?;
    table::print(&format!("edition    {}", pack.edition))?;
    table::print(&format!("standing   {}", library::standing(&pack.standing)))?;
    table::print("graphs     load and run, outputs fit the manifest")
}

/// Opens a pack and runs an empty picture through it.
pub fn check(shared: &Shared, folder: &Path) -> Result<Arc<Pack>> {
    let pack = Arc::new(Pack::open(folder, &library::trust(shared)?)?);
    let mut engine = Engine::new(&library::runtime(shared)?, Arc::clone(&pack), 1)?;
    let p = &pack.manifest.preprocessing;
    let shape = [p.channels, p.height as usize, p.width as usize];
    let empty = Tensor { shape, values: vec![0.0; shape.iter().product()] };
    engine.run(&[empty.clone(), empty], true)?;
    Ok(pack)
}

fn import(shared: &Shared, folder: &Path, to: Option<&Path>, allow_untrusted: bool) -> Result<()> {
    if !folder.is_dir() {
        bail!(
            "{} is no pack; to make one of an ONNX file or a MONAI bundle, name a new folder with --out",
            folder.display()
        );
    }
    let pack = check(shared, folder).with_context(|| {
        format!(
            "{} cannot be taken as it is; to make a pack of a MONAI bundle, name a new folder with --out",
            folder.display()
        )
    })?;
    library::open(folder, &library::trust(shared)?, allow_untrusted)?;
    let shelf = match to {
        Some(to) => to.to_owned(),
        None => library::user_folder().context("there is no home folder; say where with --to")?,
    };
    let target = shelf.join(&pack.manifest.id);
    if target.exists() {
        bail!("{} exists; move it away first, so that no edition is overwritten", target.display());
    }
    // Copied under another name first: a pack is there whole or not at all.
    let partial = shelf.join(format!(".{}.partial", pack.manifest.id));
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    for (name, _) in pack.files() {
        let file = partial.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        std::fs::write(&file, pack.file(name)?).with_context(|| format!("writing {}", file.display()))?;
    }
    std::fs::rename(&partial, &target)?;
    table::print(&format!(
        "{} edition {} is now in {}",
        pack.manifest.id,
        pack.edition.short(),
        target.display()
    ))
}

fn keygen(file: &Path) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let (private, public) = new_key()?;
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("making {}", file.display()))?;
    writeln!(out, "{private}")?;
    table::print(&format!("[[key]]\nowner = \"…\"\npublic = \"{public}\""))
}

fn sign(folder: &Path, key: &Path) -> Result<()> {
    let private = std::fs::read_to_string(key).with_context(|| format!("reading {}", key.display()))?;
    let edition = edition_of_folder(folder)?;
    let signature = Signature::sign(&edition, &signing_key(&private)?);
    let json = serde_json::to_string_pretty(&signature)?;
    std::fs::write(folder.join(SIGNATURE_FILE), json + "\n")?;
    table::print(&format!("signed edition {edition}"))
}
