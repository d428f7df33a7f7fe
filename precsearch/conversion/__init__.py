"""From a plain model to a quantized one: what to quantize, and putting the quantizers in."""

from precsearch.conversion.calibrate import calibrate as calibrate
from precsearch.conversion.describe import describe as describe
from precsearch.conversion.describe import describe_layers as describe_layers
from precsearch.conversion.describe import describe_unquantized as describe_unquantized
from precsearch.conversion.describe import quantizers_of as quantizers_of
from precsearch.conversion.describe import reread as reread
from precsearch.conversion.install import apply_allocation as apply_allocation
from precsearch.conversion.install import install as install
from precsearch.conversion.install import refuse_converted as refuse_converted
from precsearch.conversion.plan import Conversion as Conversion
from precsearch.conversion.plan import Grids as Grids
from precsearch.conversion.plan import Wishes as Wishes
from precsearch.conversion.preview import preview as preview
