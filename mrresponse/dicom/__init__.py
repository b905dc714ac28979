"""DICOM as bytes and geometry: elements, where slices lie, and masks in DICOM form; who is meant is ingest's affair."""
