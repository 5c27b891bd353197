"""What each pack says of itself before anything was measured: intended use, terms, coded concepts.

Codes are SNOMED CT where DICOM PS3.16 or common use prints them; what has no code that we could check has one of our own scheme.
"""

SCT, OURS = "SCT", "99OVERREAD"
END = "Research and local validation. Not for clinical use without local validation."

LUNG, BRAIN, HEAD, RETINA, SKIN, EYE = (
    ("39607008", "Lung structure"), ("12738006", "Brain"), ("69536005", "Head"), ("5665001", "Retina"), ("39937001", "Skin"), ("81745001", "Eye"))

ABOUT = {
    "head-ct-haemorrhage": {
        "title": "Haemorrhage and skull fracture in head CT",
        "task": "Classification of axial head CT slices in the brain window: haemorrhage, its five kinds, skull fracture",
        "data_source": "Hssayeni et al. 2020, Computed Tomography Images for Intracranial Hemorrhage Detection and Segmentation (ct-ich), CC BY 4.0",
        "data_licence": "CC-BY-4.0", "modalities": ["CT"], "body_parts": ["HEAD", "BRAIN", "SKULL"], "planes": ["axial"],
        "statement": f"Orders head CT series in which haemorrhage or a skull fracture is suspected after trauma. {END}",
        "voi": {"windows": [{"center": 40, "width": 80}]},
        "findings": {
            "haemorrhage": (SCT, "1386000", "Intracranial hemorrhage", HEAD), "intraventricular": (OURS, "IVH", "Intraventricular hemorrhage", HEAD),
            "intraparenchymal": (SCT, "274100004", "Cerebral hemorrhage", BRAIN), "subarachnoid": (SCT, "21454007", "Subarachnoid intracranial hemorrhage", HEAD),
            "epidural": (OURS, "EDH", "Epidural intracranial hemorrhage", HEAD), "subdural": (SCT, "35486000", "Subdural intracranial hemorrhage", HEAD),
            "fracture": (SCT, "71642004", "Fracture of skull", HEAD)}},
    "brain-mri-tumour": {
        "title": "Tumours in contrast-enhanced T1 brain MRI",
        "task": "Classification of brain MRI slices: glioma, meningioma, pituitary tumour, none",
        "data_source": "Nickparvar, Brain Tumor MRI Dataset (a collection of several sources; its compiler says CC0)",
        "data_licence": "CC0-1.0", "modalities": ["MR"], "body_parts": ["HEAD", "BRAIN"],
        "statement": f"Tells which of three kinds of tumour a slice of a brain MRI resembles. {END}", "voi": "first-window-or-full-range",
        "findings": {
            "glioma": (SCT, "393564001", "Glioma", BRAIN), "meningioma": (SCT, "302820008", "Intracranial meningioma", BRAIN),
            "pituitary": (SCT, "127024001", "Neoplasm of pituitary gland", ("56329008", "Pituitary structure")),
            "no-tumour": (OURS, "NO-TUMOUR", "No tumor of the three kinds seen", BRAIN)}},
    "lung-histology": {
        "title": "Kinds of lung cancer in H&E-stained tissue",
        "task": "Classification of H&E tiles of lung tissue: adenocarcinoma, squamous cell carcinoma, benign",
        "data_source": "Borkowski et al. 2019, LC25000, CC BY 4.0",
        "data_licence": "CC-BY-4.0", "modalities": ["SM", "GM", "XC"], "body_parts": ["LUNG"],
        "statement": f"Tells which kind of tissue a tile from a lung resembles. {END}", "slides": {"tile_microns": 170, "calibrated_on": "tiles"}, "voi": "first-window-or-full-range",
        "changelog": {"1.1.0": "reads whole slides in tiles; the network is the same",
                      "1.2.0": "a network for 160 x 160 pixels, trained longer: half the work a tile, and a slide's level of 1 micrometre a pixel will do",
                      "1.2.1": "the same network; the card tells how its maps did in the deletion test"},
        "findings": {
            "adenocarcinoma": (SCT, "254626006", "Adenocarcinoma of lung", LUNG), "squamous": (SCT, "254634000", "Squamous cell carcinoma of lung", LUNG),
            "benign": (OURS, "BENIGN-LUNG", "Benign lung tissue", LUNG)}},
    "skin-lesion": {
        "title": "Pigmented skin lesions under the dermatoscope",
        "task": "Classification of dermoscopic images: melanoma, seborrheic keratosis, nevus",
        "data_source": "ISIC 2017 challenge (Codella et al. 2018), CC0",
        "data_licence": "CC0-1.0", "modalities": ["XC", "DMS", "ES"], "body_parts": [],
        "statement": f"Orders dermoscopic images in which melanoma is suspected. Not for photographs taken without a dermatoscope. {END}",
        "voi": "first-window-or-full-range",
        "findings": {
            "melanoma": (SCT, "1162635006", "Malignant melanoma", SKIN), "seborrheic-keratosis": (SCT, "25499005", "Seborrheic keratosis", SKIN),
            "nevus": (OURS, "NEVUS", "Melanocytic nevus", SKIN)}},
    "fundus": {
        "title": "Five diseases of the eye in colour fundus photographs",
        "task": "Classification of colour fundus photographs: diabetic retinopathy, AMD, glaucoma, cataract, pathological myopia",
        "data_source": "ODIR-5K (Peking University, 2019); terms unclear, research use only",
        "data_licence": "LicenseRef-research-only", "modalities": ["OP", "XC"], "body_parts": ["EYE", "RETINA"],
        "statement": f"Research on ordering fundus photographs of a screening. {END}", "voi": "first-window-or-full-range",
        "findings": {
            "diabetic-retinopathy": (SCT, "4855003", "Diabetic retinopathy", RETINA), "amd": (SCT, "267718000", "Age-related macular degeneration", RETINA),
            "glaucoma": (SCT, "23986001", "Glaucoma", EYE), "cataract": (SCT, "193570009", "Cataract", EYE), "myopia": (SCT, "57190000", "Myopia", EYE)}},
    "echo-regurgitation": {
        "title": "Which valve leaks, in colour Doppler echocardiograms",
        "task": "Classification of colour Doppler frames: aortic, mitral, pulmonary, tricuspid regurgitation",
        "data_source": "A public set of colour Doppler frames of 40 patients with regurgitation; no licence stated, research use only",
        "data_licence": "LicenseRef-research-only", "modalities": ["US"], "body_parts": ["HEART", "CHEST"], "region": "ultrasound",
        "statement": f"Research: tells which valve leaks where one does. It has never seen a heart without regurgitation. {END}",
        "voi": "first-window-or-full-range",
        "findings": {
            "AR": (SCT, "60234000", "Aortic valve regurgitation", ("34202007", "Aortic valve")), "MR": (SCT, "48724000", "Mitral valve regurgitation", ("91134007", "Mitral valve")),
            "PR": (SCT, "91434003", "Pulmonic valve regurgitation", ("39057004", "Pulmonary valve")), "TR": (SCT, "111287006", "Tricuspid valve regurgitation", ("46030003", "Tricuspid valve"))}},
}


def coded(scheme, value, meaning):
    return {"scheme": scheme, "value": value, "meaning": meaning}


def metadata(program):
    """The whole of configs/metadata.json, without what calibration adds."""
    about, (width, height) = ABOUT[program.name], program.size
    changelog = {"1.0.0": "first release"} | about.get("changelog", {})
    channel = {str(i): name for i, name in enumerate(program.labels)}
    return {
        "version": list(changelog)[-1], "changelog": changelog, "monai_version": "1.4.0", "pytorch_version": "2.15.0", "numpy_version": "1.26.4",
        "task": about["task"], "description": f"EfficientNet-Lite0 fine-tuned from ImageNet weights. {about['task']}.",
        "authors": "Overread", "copyright": "The Overread authors; see LICENSE", "data_source": about["data_source"], "intended_use": END,
        "network_data_format": {
            "inputs": {"image": {"type": "image", "format": "magnitude" if program.channels == 1 else "RGB", "modality": about["modalities"][0],
                                 "num_channels": program.channels, "spatial_shape": [height, width], "dtype": "float32",
                                 "value_range": [-0.993, 1.0], "is_patch_data": False}},
            "outputs": {"logits": {"type": "probabilities", "format": "classes", "num_channels": len(channel), "spatial_shape": [1],
                                   "dtype": "float32", "value_range": [0, 1], "is_patch_data": False, "channel_def": channel}}},
        "overread": {
            "pack_format": 1, "id": program.name, "program": program.name, "title": about["title"],
            "intended_use": {"statement": about["statement"], "modalities": about["modalities"], "body_parts": about["body_parts"], "planes": about.get("planes", []), "photographs": True},
            "terms": {"licence": "Apache-2.0" if not program.research else "LicenseRef-research-only", "data_licence": about["data_licence"], "research_only": program.research},
            "model": {"kind": "decomposable", "backbone": "models/backbone.onnx", "fused": "models/fused.onnx", "head": "head.safetensors", "input": "image",
                      "features": "features", "pooled": "pooled", "embedding": "embedding", "logits": "logits"},
            "preprocessing": {"width": width, "height": height, "channels": program.channels, "voi": about["voi"], "invert_monochrome1": True,
                              "region": about.get("region", "whole"), "fit": program.fit, "filter": "bilinear-antialias", "mean": [0.498] * program.channels, "std": [0.502] * program.channels},
            "aggregation": {"over": "images", "method": program.over} | ({"top": program.top} if program.top else {}),
            **({"slides": about["slides"]} if "slides" in about else {}),
            "findings": [{"label": label, "code": coded(*spec[:3]), "site": coded(SCT, *spec[3]), "experimental": False}
                         for label, spec in about["findings"].items()],
            "evidence": "docs/evidence.json", "golden": "golden/golden.json",
        },
    }
