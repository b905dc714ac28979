"""Results as DICOM objects beside the source images: segmentations (SEG) and measurement reports (SR, TID 1500).

UIDs are hashes of the source's UIDs and of what is written, so the same run gives the same objects, and a lesion has
one tracking UID at every visit. The source images are read again from where the run read them; their places stand under
the run's ``private`` folder, because they and the UIDs in them identify a person.
"""

from mrresponse.report.dicom.export import export_segmentations, export_structured_reports

__all__ = ["export_segmentations", "export_structured_reports"]
