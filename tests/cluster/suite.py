# SPDX-License-Identifier: Apache-2.0
"""What the suites of the product have in common: their command line, a cluster with images in it."""
import argparse

import bed
import product
from report import Report


def main(about, run):
    """run(cluster, report) with the product's images loaded; returns the status to end with."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--containerd", default="1.6")
    parser.add_argument("--images", help="a folder for images, to build them once for one source")
    parser.add_argument("--attach", help="a cluster that is up, and stays")
    parser.add_argument("tests", nargs="*", help="words in their names")
    arguments = parser.parse_args()
    report = Report(arguments.tests)
    try:
        with product.images(arguments.images) as images:
            if arguments.attach:
                start(bed.Cluster.attach(arguments.attach), images, report, run)
            else:
                with bed.Cluster(containerd=arguments.containerd) as cluster:
                    start(cluster, images, report, run)
    except bed.Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    return report.end()


def start(cluster, images, report, run):
    print(f"# the cluster is up after {cluster.seconds} s", flush=True)
    images.load(cluster)
    run(cluster, report)
