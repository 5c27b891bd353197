//! What other programs get of a slide that was read: its tiles as a table and as outlines, a map of each finding as DICOM.

use std::io::Write;

use overread_dicom::read::Opened;
use overread_dicom::write::parametric_map::parametric_map;
use overread_dicom::write::{
    Algorithm, ParametricMap, ResultIdentity, SlidePlane, SourceContext, Stamp, WriteError, to_part10,
};
use overread_domain::{GridSize, ValueKind};
use overread_infer::Pack;

use super::{SlideMap, Tile};
use crate::intake::Study;
use crate::reader::Reader;
use crate::tiles::{TileRecord, TilesError, write_csv, write_geojson};

impl SlideMap {
    /// Writes its tiles as a table.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn csv(&self, pack: &Pack, out: impl Write) -> Result<(), TilesError> {
        write_csv(out, self.records(pack), &labels(pack), self.table_kind(pack))
    }

    /// Writes its tiles as outlines. `name` tells the slide from others.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn geojson(&self, pack: &Pack, name: &str, out: impl Write) -> Result<(), TilesError> {
        write_geojson(out, name, self.records(pack), &labels(pack), self.table_kind(pack))
    }

    /// A table has one name for all its columns: they are probabilities only if all are.
    fn table_kind(&self, pack: &Pack) -> ValueKind {
        let all =
            (0..pack.manifest.findings.len()).all(|label| Self::kind(pack, label) == ValueKind::Probability);
        if all { ValueKind::Probability } else { ValueKind::Score }
    }

    fn records<'a>(&'a self, pack: &'a Pack) -> impl Iterator<Item = TileRecord> + 'a {
        self.tiles.iter().map(|tile| record(pack, tile))
    }

    /// The map of a label as a DICOM object.
    ///
    /// # Errors
    /// The object cannot be made.
    pub fn dicom(
        &self,
        pack: &Pack,
        label: usize,
        plane: SlidePlane,
        source: &SourceContext,
        (algorithm, identity, stamp): (&Algorithm, &ResultIdentity, Stamp),
    ) -> Result<Vec<u8>, WriteError> {
        let values = self.values(pack, label);
        let cells: Vec<f32> = values.into_iter().map(|v| v.map_or(f32::NAN, |v| v as f32)).collect();
        let spec = &pack.manifest.findings[label];
        let map = ParametricMap {
            label: &spec.label,
            finding: &spec.code,
            kind: Self::kind(pack, label),
            number: label as u32 + 1,
            size: GridSize::new(self.grid.0, self.grid.1),
            cells: &cells,
            plane: plane.cells([self.tile_side; 2], [0.0; 2]),
            lossy: &[],
        };
        to_part10(&parametric_map(source, algorithm, identity, stamp, &map)?)
    }

    /// Where the pixels of the slide's full resolution lie; a nominal place for a slide that is no DICOM object.
    pub fn plane(&self, reader: &Reader, study: &Study) -> SlidePlane {
        let told = match reader.reopen(&study.images[self.image]) {
            Ok(Opened::Dicom(file)) => SlidePlane::of(file.dataset()),
            _ => None,
        };
        told.unwrap_or_else(|| SlidePlane::nominal([self.microns_per_pixel / 1e3; 2]))
    }
}

fn labels(pack: &Pack) -> Vec<String> {
    pack.manifest.findings.iter().map(|f| f.label.clone()).collect()
}

fn record(pack: &Pack, tile: &Tile) -> TileRecord {
    let (values, refused) = match &tile.outcome {
        Ok(logits) => ((0..logits.len()).map(|l| SlideMap::value(pack, l, logits)).collect(), None),
        Err(why) => (vec![], Some(why.code.clone())),
    };
    let region = tile.region;
    TileRecord {
        left: region.left.into(),
        top: region.top.into(),
        width: region.size.columns.into(),
        height: region.size.rows.into(),
        values,
        refused,
    }
}
