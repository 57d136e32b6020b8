"""SageMaker's lineage and batch transform jobs, which moto lacks: artifacts by source, and their associations (API: ListArtifacts,
ListContexts, QueryLineage, DescribeArtifact)."""

from typing import Any

from werkzeug.wrappers import Response

from .answers import arn_for, reject, respond


class Lineage:
    """Entities that tests have added."""

    def clear(self) -> None:
        """Removes all artifacts and transform jobs."""
        self.artifacts: dict[str, dict[str, str]] = {}
        self.associations: list[dict[str, str]] = []
        self.transform_jobs: list[dict[str, Any]] = []

    def ListTransformJobs(self, body: dict[str, Any]) -> Response:
        fitting = [job for job in self.transform_jobs if body.get("NameContains", "") in job["TransformJobName"]]
        fitting.sort(key=lambda job: job["CreationTime"], reverse=body.get("SortOrder") == "Descending")
        return respond({"TransformJobSummaries": fitting[: body.get("MaxResults", 100)]})

    def ListArtifacts(self, body: dict[str, Any]) -> Response:
        found = [arn for arn, artifact in self.artifacts.items() if artifact["source"] == body.get("SourceUri")]
        return respond({"ArtifactSummaries": [{"ArtifactArn": arn} for arn in found]})

    def ListContexts(self, _: dict[str, Any]) -> Response:
        return respond({"ContextSummaries": []})

    def QueryLineage(self, body: dict[str, Any]) -> Response:
        seen, edges, waiting = set(body["StartArns"]), [], list(body["StartArns"])
        while waiting:
            arn = waiting.pop()
            for edge in self.associations:
                if edge["DestinationArn"] == arn:
                    edges.append(edge)
                    if edge["SourceArn"] not in seen:
                        seen.add(edge["SourceArn"])
                        waiting.append(edge["SourceArn"])
        vertices = [{"Arn": arn, "Type": self.artifacts[arn]["type"], "LineageType": "Artifact"} for arn in sorted(seen)]
        return respond({"Vertices": vertices, "Edges": edges})

    def DescribeArtifact(self, body: dict[str, Any]) -> Response:
        artifact = self.artifacts.get(body["ArtifactArn"])
        if artifact is None:
            return reject("ResourceNotFound", f"Artifact {body['ArtifactArn']} does not exist.", 404)
        return respond({"ArtifactArn": body["ArtifactArn"], "ArtifactType": artifact["type"], "Source": {"SourceUri": artifact["source"]}})


class LineageControl:
    """Control API for lineage.

    POST /_stand-in/lineage        {"chain": [{"type", "source"}]}: each artifact contributed to the next
    POST /_stand-in/transform_job  a TransformJobSummary
    """

    stand_in: Any

    def lineage(self, body: dict[str, Any]) -> Any:
        of = self.stand_in
        arns = []
        for entity in body["chain"]:
            arn = arn_for("artifact", f"{len(of.artifacts):032x}")
            of.artifacts[arn] = entity
            arns.append(arn)
        pairs = zip(arns, arns[1:])
        of.associations += [{"SourceArn": a, "DestinationArn": b, "AssociationType": "ContributedTo"} for a, b in pairs]
        return {}

    def transform_job(self, body: dict[str, Any]) -> Any:
        self.stand_in.transform_jobs.append(body)
        return {}
