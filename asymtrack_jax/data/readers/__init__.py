"""Readers of datasets in their original layout, one module per dataset."""
