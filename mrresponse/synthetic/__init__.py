"""Synthetic liver MRI with known truth: anatomy, lesions, contrast and acquisition (needs torch)."""
