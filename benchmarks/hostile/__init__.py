"""Files that are made to harm who reads them: images, data sets, weights."""
