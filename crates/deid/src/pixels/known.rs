//! Regions that the header alone gives away: what lies outside ultrasound regions, and where devices write.

use dicom_core::Tag;
use dicom_dictionary_std::tags as t;
use dicom_object::InMemDicomObject;
use overread_domain::GridSize;

use super::region::{Region, Why, outside};
use crate::values::{numbers, texts};

/// One device a line; the head of the file says where its facts are from.
const DEVICES: &str = include_str!("known.tsv");

/// The regions of a frame that must go whatever a detector sees.
pub(crate) fn regions(object: &InMemDicomObject, size: GridSize) -> Vec<Region> {
    let mut regions = ultrasound(object, size);
    regions.extend(devices(object, size));
    regions
}

/// All that lies outside the items of Sequence of Ultrasound Regions (PS3.3 §C.8.5.5); nothing if there is none that
/// can be used, or one that covers less than a tenth of the picture: then the sequence does not say where the image is.
fn ultrasound(object: &InMemDicomObject, size: GridSize) -> Vec<Region> {
    let items = object.get(t::SEQUENCE_OF_ULTRASOUND_REGIONS).and_then(|e| e.items()).unwrap_or_default();
    let inside: Vec<Region> = items.iter().filter_map(|item| ultrasound_region(item, size)).collect();
    let rest = outside(size, &inside, Why::OutsideUltrasoundRegions);
    let area: u64 = rest.iter().map(|r| u64::from(r.right - r.left) * u64::from(r.bottom - r.top)).sum();
    if area * 10 > size.pixels() * 9 { Vec::new() } else { rest }
}

fn ultrasound_region(item: &InMemDicomObject, size: GridSize) -> Option<Region> {
    let edge = |tag: Tag| numbers::<u32>(item.get(tag)?)?.first().map(|n| i64::from(*n));
    let (left, top) = (edge(t::REGION_LOCATION_MIN_X0)?, edge(t::REGION_LOCATION_MIN_Y0)?);
    let (right, bottom) = (edge(t::REGION_LOCATION_MAX_X1)?, edge(t::REGION_LOCATION_MAX_Y1)?);
    // The last pixel belongs to the region.
    Region::within(size, [left, top, right + 1, bottom + 1], Why::OutsideUltrasoundRegions)
}

fn devices(object: &InMemDicomObject, size: GridSize) -> Vec<Region> {
    let value = |tag| texts(object, tag).unwrap_or_default().join("\\").to_ascii_uppercase();
    let modality = value(t::MODALITY);
    let (maker, model) = (value(t::MANUFACTURER), value(t::MANUFACTURER_MODEL_NAME));
    let words = format!("{}\\{}", value(t::IMAGE_TYPE), value(t::SERIES_DESCRIPTION));
    let fits = |row: &Device| {
        row.modality == modality
            && maker.contains(&row.maker.to_ascii_uppercase())
            && model.contains(&row.model.to_ascii_uppercase())
            && words.contains(&row.word.to_ascii_uppercase())
            && [0, size.rows].contains(&row.rows)
            && [0, size.columns].contains(&row.columns)
    };
    let rows = DEVICES.lines().filter_map(Device::parse).filter(fits);
    rows.filter_map(|row| {
        let [left, top, width, height] = row.place;
        Region::within(size, [left, top, left + width, top + height], Why::Device)
    })
    .collect()
}

/// A line of the table.
struct Device {
    modality: &'static str,
    maker: &'static str,
    model: &'static str,
    rows: u32,
    columns: u32,
    word: &'static str,
    place: [i64; 4],
}

impl Device {
    fn parse(line: &'static str) -> Option<Self> {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let [modality, maker, model, rows, columns, word, left, top, width, height] = cells[..] else {
            return None;
        };
        let whole = |cell: &str| cell.parse().ok();
        Some(Self {
            modality,
            maker,
            model,
            rows: rows.parse().ok()?,
            columns: columns.parse().ok()?,
            word,
            place: [whole(left)?, whole(top)?, whole(width)?, whole(height)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, VR};

    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_device() {
        let lines = DEVICES.lines().filter(|l| !l.starts_with('#'));
        let devices: Vec<_> = lines.map(|l| Device::parse(l).unwrap_or_else(|| panic!("{l}"))).collect();
        assert!(devices.len() > 30);
        assert!(devices.iter().all(|d| d.place[2] > 0 && d.place[3] > 0 && d.modality.len() == 2));
    }

    #[test]
    fn a_device_is_known_by_its_header() {
        let mut object = InMemDicomObject::new_empty();
        object.put(DataElement::new(t::MODALITY, VR::CS, "US"));
        object.put(DataElement::new(t::MANUFACTURER, VR::LO, "Philips Medical Systems"));
        object.put(DataElement::new(t::MANUFACTURER_MODEL_NAME, VR::LO, "iU22"));
        let found = regions(&object, GridSize::new(800, 600));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].right, found[0].bottom, found[0].why), (800, 59, Why::Device));
        assert!(regions(&object, GridSize::new(800, 601)).is_empty(), "another size is another screen");
    }

    #[test]
    fn what_lies_outside_ultrasound_regions_goes() {
        let item = |edges: [u32; 4]| {
            let tags = [
                t::REGION_LOCATION_MIN_X0,
                t::REGION_LOCATION_MIN_Y0,
                t::REGION_LOCATION_MAX_X1,
                t::REGION_LOCATION_MAX_Y1,
            ];
            let mut item = InMemDicomObject::new_empty();
            for (tag, edge) in tags.into_iter().zip(edges) {
                item.put(DataElement::new(tag, VR::UL, dicom_core::PrimitiveValue::from(edge)));
            }
            item
        };
        let of = |items: Vec<InMemDicomObject>| {
            let mut object = InMemDicomObject::new_empty();
            let sequence = dicom_core::value::DataSetSequence::from(items);
            object.put(DataElement::new(t::SEQUENCE_OF_ULTRASOUND_REGIONS, VR::SQ, sequence));
            regions(&object, GridSize::new(100, 80))
        };
        let found = of(vec![item([10, 20, 89, 79])]);
        let rectangles: Vec<_> = found.iter().map(|r| [r.left, r.top, r.right, r.bottom]).collect();
        assert_eq!(rectangles, [[0, 0, 100, 20], [0, 20, 10, 80], [90, 20, 100, 80]]);
        assert!(of(vec![item([0, 0, 4, 4])]).is_empty(), "a region of a few pixels is no image");
        assert!(of(Vec::new()).is_empty());
    }
}
